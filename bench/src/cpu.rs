//! The CPU time of another process, and the core that it shares with its load.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use testbed::{Error, Result};

/// The CPU time that a process has used so far, in seconds: user and system, all its threads, dead ones too.
pub(crate) fn seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).map_err(Error::io(format!("reading {path}")))?;
    let ticks =
        ticks(&text).ok_or_else(|| Error::program(path, "two numbers are not where they should be"))?;
    // Both are far below 2⁵³.
    #[allow(clippy::cast_precision_loss, reason = "a clock's ticks")]
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The sum of fields 14 and 15 (proc(5)). The second field is a name in parentheses that may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// From now on this process, and what it starts, runs on one core: the last that it may use. Answers whether the kernel
/// let it.
///
/// Then nothing of what is measured is the price of waking another core, which in a virtual machine is several times that
/// of forwarding a small request, the same for every proxy, and different from minute to minute.
pub(crate) fn share_one_core() -> bool {
    let Ok(all) = sched_getaffinity(None) else { return false };
    let Some(last) = (0..CpuSet::MAX_CPU).rev().find(|&cpu| all.is_set(cpu)) else { return false };
    let mut one = CpuSet::new();
    one.set(last);
    sched_setaffinity(None, &one).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_anything_in_it_is_stepped_over() {
        let stat = "42 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 120 34 0 0 20 0 1";
        assert_eq!(ticks(stat), Some(154));
        assert_eq!(ticks("42 (x) S 1"), None);
    }

    #[test]
    fn work_shows_up_in_our_own_time() {
        let me = std::process::id();
        let before = seconds(me).unwrap();
        let bound = std::time::Instant::now();
        let mut x = 1u64;
        while seconds(me).unwrap() < before + 0.03 {
            x = std::hint::black_box(x.wrapping_mul(3));
            assert!(bound.elapsed().as_secs() < 60);
        }
    }
}
