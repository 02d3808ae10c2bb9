import { thinned } from '@common/components/course';
import type { Course, Point } from '../../api/schema';

const DRAWN_MAX = 240;

/** Sums of neighbouring points, so many that they can be told apart on a screen. What is not there yet is nothing. */
export function coarser(course: Course): Course {
  // The last point is not full yet.
  const full = padded({ ...course, points: course.points.slice(0, -1) });
  const factor = Math.ceil(full.length / DRAWN_MAX);
  return { seconds: course.seconds * Math.max(1, factor), points: thinned(full, DRAWN_MAX, sum) };
}

/** At least a quarter of an hour, so that the first minutes do not fill the whole width. */
function padded(course: Course): Point[] {
  const least = Math.min(180, Math.ceil(900 / course.seconds));
  const first = course.points[0]?.at ?? Math.floor(Date.now() / 1000 / course.seconds) * course.seconds;
  const missing = Math.max(0, least - course.points.length);
  const nothing = Array.from({ length: missing }, (_, at): Point => {
    const before = (missing - at) * course.seconds;
    return { at: first - before, accepted: 0, accepted_bytes: 0, served: 0, served_bytes: 0, deleted: 0, refused: 0 };
  });
  return [...nothing, ...course.points];
}

function sum(points: Point[]): Point {
  const total = (of: (point: Point) => number) => points.reduce((before, point) => before + of(point), 0);
  return {
    at: points.at(-1)?.at ?? 0,
    accepted: total((point) => point.accepted),
    accepted_bytes: total((point) => point.accepted_bytes),
    served: total((point) => point.served),
    served_bytes: total((point) => point.served_bytes),
    deleted: total((point) => point.deleted),
    refused: total((point) => point.refused),
  };
}
