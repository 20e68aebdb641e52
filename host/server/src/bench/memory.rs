//! Memory and processor time of a process, as Linux tells them.

use std::time::Duration;

/// `sysconf(_SC_CLK_TCK)`, which is 100 on every Linux.
const TICKS_A_SECOND: u64 = 100;

/// Bytes of a line of `/proc/<process>/status`: `VmRSS` now, `VmHWM` at most. 0 where there is no such file.
pub fn bytes(process: &str, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let found = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':'));
    found.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or_default() * 1024
}

/// Processor time of all threads of this process so far, in steps of 10 ms.
pub fn processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The fields after the name, which may hold anything, are counted from 3; these are 14 and 15 (proc_pid_stat(5)).
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(11).take(2));
    let ticks: u64 = fields.into_iter().flatten().filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / TICKS_A_SECOND)
}
