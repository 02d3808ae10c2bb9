//! Work on all cores.

use std::sync::{Mutex, PoisonError};

/// Fewer are not worth a thread.
const SIDE_BY_SIDE_MIN: usize = 8;
const CORES_MAX: usize = 8;

/// What `work` makes of each, in their order.
pub(crate) fn side_by_side<T: Send, R: Send>(all: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(CORES_MAX);
    if all.len() < SIDE_BY_SIDE_MIN || cores == 1 {
        return all.into_iter().map(work).collect();
    }
    let count = all.len();
    // Some take a thousand times as long as others, so each thread takes the next one.
    let left = Mutex::new(all.into_iter().enumerate());
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let one_by_one = || {
            let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
            std::iter::from_fn(next).map(|(nth, one)| (nth, work(one))).collect::<Vec<_>>()
        };
        // Where there is no room for another thread it takes longer.
        let another = |_| std::thread::Builder::new().spawn_scoped(scope, one_by_one).ok();
        let threads: Vec<_> = (1..cores).map_while(another).collect();
        let mut done = Vec::with_capacity(count);
        done.extend(one_by_one());
        for thread in threads {
            match thread.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(nth, _)| *nth);
    done.into_iter().map(|(_, one)| one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_done_in_order() {
        for count in [0, 1, SIDE_BY_SIDE_MIN, 1000] {
            let doubled = side_by_side((0..count).collect(), |n| n * 2);
            assert_eq!(doubled, (0..count).map(|n| n * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_panic_is_passed_on() {
        let panicked = std::panic::catch_unwind(|| {
            side_by_side((0..100).collect(), |n| assert_ne!(n, 50));
        });
        assert!(panicked.is_err());
    }
}
