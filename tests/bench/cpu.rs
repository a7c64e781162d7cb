//! Processor time by thread, as the scheduler counts it.

use std::fs;

/// Microseconds that threads whose name begins with one of `names` have run so far. The reading of a running thread is
/// late by a tick of some milliseconds: measure over seconds.
pub(crate) fn of_threads(names: &[&str]) -> f64 {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux");
    tasks
        .filter_map(Result::ok)
        .filter(|task| {
            let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            names.iter().any(|wanted| name.starts_with(wanted))
        })
        .map(|task| ran(&fs::read_to_string(task.path().join("schedstat")).unwrap_or_default()))
        .sum()
}

/// The same of this thread alone.
pub(crate) fn of_this_thread() -> f64 {
    // The count is brought up to date when the thread is switched out.
    std::thread::yield_now();
    ran(&fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default())
}

fn ran(schedstat: &str) -> f64 {
    let nanos = schedstat
        .split(' ')
        .next()
        .and_then(|first| first.parse::<f64>().ok());
    nanos.unwrap_or(0.0) / 1e3
}
