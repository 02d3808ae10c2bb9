/** The course of a day in the height of a line of text. Bars, because each value is a count of its own hour. */
export function Sparkline({ values, label }: { values: number[]; label: string }) {
  const most = Math.max(1, ...values);
  const [width, height] = [4, 22];
  return (
    <svg
      width={values.length * width}
      height={height}
      viewBox={`0 0 ${values.length * width} ${height}`}
      role="img"
      aria-label={label}
    >
      <title>{label}</title>
      {values.map((value, at) => {
        const tall = value === 0 ? 1 : Math.max(2, (value / most) * height);
        return (
          <rect
            // biome-ignore lint/suspicious/noArrayIndexKey: the place is what tells one bar from another
            key={at}
            x={at * width}
            y={height - tall}
            width={width - 1}
            height={tall}
            rx={0.8}
            fill={value === 0 ? 'var(--line)' : 'var(--series-1)'}
          />
        );
      })}
    </svg>
  );
}
