// Lines over time. The picture is for the eye; a table says the same to screen readers, in fewer points.

import { useElementSize } from '@mantine/hooks';
import { type PointerEvent, useState } from 'react';
import classes from './Chart.module.css';
import { linePath, roundUp } from './course';

export interface Series {
  id: string;
  title: string;
  colour: string;
  values: number[];
  filled?: boolean;
}

interface ChartProps {
  label: string;
  times: number[];
  series: Series[];
  formatTime: (at: number) => string;
  formatValue: (value: number) => string;
  height?: number;
}

const LEFT = 46;
const BOTTOM = 22;
const TOP = 8;

export function Chart({ label, times, series, formatTime, formatValue, height = 220 }: ChartProps) {
  const { ref, width } = useElementSize();
  const [chosen, setChosen] = useState<number | null>(null);
  const top = roundUp(Math.max(0, ...series.flatMap((one) => one.values)));
  const [wide, tall] = [Math.max(0, width - LEFT - 8), height - BOTTOM - TOP];
  const place = (at: number) => LEFT + (times.length > 1 ? (at / (times.length - 1)) * wide : 0);
  const choose = (event: PointerEvent<SVGSVGElement>) => {
    const x = event.clientX - event.currentTarget.getBoundingClientRect().left - LEFT;
    const at = Math.round((x / Math.max(1, wide)) * (times.length - 1));
    setChosen(at >= 0 && at < times.length ? at : null);
  };
  return (
    <figure className={classes.figure} aria-label={label}>
      <figcaption className={classes.legend}>
        {series.map((one) => (
          <span key={one.id} className={classes.key}>
            <svg width="10" height="10" aria-hidden>
              <rect width="10" height="10" rx="3" fill={one.colour} />
            </svg>
            {one.title}
            <b className="numbers">{formatValue(one.values[chosen ?? one.values.length - 1] ?? 0)}</b>
          </span>
        ))}
        <span className={classes.when}>{chosen === null ? '' : formatTime(times[chosen] ?? 0)}</span>
      </figcaption>
      <div ref={ref}>
        <svg width="100%" height={height} aria-hidden onPointerMove={choose} onPointerLeave={() => setChosen(null)}>
          {[0, 0.5, 1].map((part) => {
            const y = TOP + (1 - part) * tall;
            return (
              <g key={part}>
                <line x1={LEFT} x2={LEFT + wide} y1={y} y2={y} className={classes.grid} />
                <text x={LEFT - 8} y={y + 4} textAnchor="end" className={classes.tick}>
                  {formatValue(top * part)}
                </text>
              </g>
            );
          })}
          {ticks(times.length, wide).map((at) => (
            <text key={at} x={place(at)} y={height - 4} textAnchor={anchor(at, times.length)} className={classes.tick}>
              {formatTime(times[at] ?? 0)}
            </text>
          ))}
          <g transform={`translate(${LEFT} ${TOP})`}>
            {series.map((one) => {
              const path = linePath(
                one.values.map((value) => value / top),
                wide,
                tall,
              );
              return (
                <g key={one.id}>
                  {one.filled && path && (
                    <path d={`${path}L${wide} ${tall}L0 ${tall}Z`} fill={one.colour} fillOpacity={0.1} />
                  )}
                  <path d={path} fill="none" stroke={one.colour} strokeWidth={1.6} strokeLinejoin="round" />
                </g>
              );
            })}
          </g>
          {chosen !== null && (
            <line x1={place(chosen)} x2={place(chosen)} y1={TOP} y2={TOP + tall} className={classes.cursor} />
          )}
        </svg>
      </div>
      <AsTable label={label} times={times} series={series} formatTime={formatTime} formatValue={formatValue} />
    </figure>
  );
}

function AsTable({ label, times, series, formatTime, formatValue }: ChartProps) {
  const places = ticks(times.length, 1200);
  return (
    <div className="unseen">
      <table>
        <caption>{label}</caption>
        <thead>
          <tr>
            <td />
            {series.map((one) => (
              <th key={one.id} scope="col">
                {one.title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {places.map((at) => (
            <tr key={at}>
              <th scope="row">{formatTime(times[at] ?? 0)}</th>
              {series.map((one) => (
                <td key={one.id}>{formatValue(one.values[at] ?? 0)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Where times stand below: as many as there is room for. */
function ticks(count: number, width: number): number[] {
  if (count < 2) return count === 1 ? [0] : [];
  const several = Math.max(2, Math.min(count, Math.floor(width / 120)));
  return Array.from({ length: several }, (_, at) => Math.round((at / (several - 1)) * (count - 1)));
}

function anchor(at: number, count: number) {
  return at === 0 ? 'start' : at === count - 1 ? 'end' : 'middle';
}
