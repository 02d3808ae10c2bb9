import { encode } from 'uqr';

const QUIET = 3;

/** A QR code, dark on white in either scheme: that is what cameras expect. */
export function QrCode({ text, label }: { text: string; label: string }) {
  const { data, size } = encode(text, { border: 0, ecc: 'M' });
  const whole = size + 2 * QUIET;
  const path = data
    .flatMap((row, y) => row.map((dark, x) => (dark ? `M${x + QUIET} ${y + QUIET}h1v1h-1z` : '')))
    .join('');
  return (
    <svg
      viewBox={`0 0 ${whole} ${whole}`}
      width={212}
      height={212}
      role="img"
      aria-label={label}
      shapeRendering="crispEdges"
    >
      <title>{label}</title>
      <rect width={whole} height={whole} rx={2} fill="#fff" />
      <path d={path} fill="#101622" />
    </svg>
  );
}
