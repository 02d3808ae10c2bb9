import { expect, it } from 'vitest';
import { coarser } from '../pages/overview/coarser';
import { merged } from './overview';
import type { Course, Overview, Point } from './schema';

const point = (at: number, accepted: number): Point => ({
  at,
  accepted,
  accepted_bytes: 0,
  served: 0,
  served_bytes: 0,
  deleted: 0,
  refused: 0,
});
const course = (...points: Point[]): Course => ({ seconds: 5, points });
const overview = { messages: 1 } as Overview;

it('takes live points in place of those of the same time', () => {
  const before = { overview, course: course(point(5, 1), point(10, 2)) };
  const news = { overview: { messages: 2 } as Overview, course: course(point(10, 7), point(15, 1)) };
  const after = merged(before, news);
  expect(after.overview.messages).toBe(2);
  expect(after.course.points.map(({ at, accepted }) => [at, accepted])).toEqual([
    [5, 1],
    [10, 7],
    [15, 1],
  ]);
});

it('keeps an hour of points, and what is there when nothing new came', () => {
  const long = course(...Array.from({ length: 720 }, (_, at) => point(at * 5, 1)));
  const after = merged({ overview, course: long }, { overview, course: course(point(3600, 1), point(3605, 1)) });
  expect([after.course.points.length, after.course.points[0]?.at]).toEqual([720, 10]);
  expect(merged({ overview, course: long }, { overview, course: course() }).course.points).toHaveLength(720);
});

it('draws a day in few enough points, losing no message', () => {
  const day = { seconds: 60, points: Array.from({ length: 1441 }, (_, at) => point(at * 60, 1)) };
  const drawn = coarser(day);
  expect([drawn.points.length, drawn.seconds]).toEqual([240, 360]);
  expect(drawn.points.reduce((sum, { accepted }) => sum + accepted, 0)).toBe(1440);
});
