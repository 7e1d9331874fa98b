//! The standard `process_*` families, with true values.
//!
//! The collector of the `prometheus` crate reports a start time of 0 where `/proc/stat` is hidden
//! (systemd's `ProcSubset=pid`), processor time in whole seconds, and no limit of virtual memory.
//! Here a value that cannot be read is left out, as the guide for client libraries asks.

use std::time::{SystemTime, UNIX_EPOCH};

use procfs::process::{LimitValue, Process, Stat};
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};

/// Reads this process's figures from `/proc`.
#[derive(Debug, Clone)]
pub struct ProcessCollector {
    /// When the process began, in seconds of Unix time.
    started: Option<f64>,
}

impl ProcessCollector {
    /// Finds out when the process began: from the kernel, or, where `/proc/stat` is hidden, from
    /// the wall clock now. Make it first thing, and the two differ by milliseconds.
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        let started = started_by_kernel().or(now.map(|now| now.as_secs_f64()));
        Self { started }
    }

    /// The families that can be read now. Blocks on `/proc`: some tens of microseconds, and on
    /// kernels before 6.2 longer with every open file.
    pub fn gather(&self) -> Vec<MetricFamily> {
        let mut families = Vec::with_capacity(8);
        let mut gauge = |name: &str, help: &str, value: f64| {
            families.extend(gauge_family(name, help, value));
        };
        if let Some(started) = self.started {
            let help = "Start time of the process since unix epoch in seconds.";
            gauge("process_start_time_seconds", help, started);
        }
        let Ok(process) = Process::myself() else { return families };
        if let Ok(open) = process.fd_count() {
            gauge("process_open_fds", "Number of open file descriptors.", open as f64);
        }
        if let Ok(limits) = process.limits() {
            if let LimitValue::Value(most) = limits.max_open_files.soft_limit {
                let help = "Maximum number of open file descriptors.";
                gauge("process_max_fds", help, most as f64);
            }
            if let LimitValue::Value(most) = limits.max_address_space.soft_limit {
                let help = "Maximum amount of virtual memory available in bytes.";
                gauge("process_virtual_memory_max_bytes", help, most as f64);
            }
        }
        if let Ok(stat) = process.stat() {
            let resident = stat.rss * procfs::page_size();
            gauge(
                "process_virtual_memory_bytes",
                "Virtual memory size in bytes.",
                stat.vsize as f64,
            );
            gauge(
                "process_resident_memory_bytes",
                "Resident memory size in bytes.",
                resident as f64,
            );
            gauge(
                "process_threads",
                "Number of OS threads in the process.",
                stat.num_threads as f64,
            );
            families.extend(cpu_family(&stat));
        }
        families
    }
}

impl Default for ProcessCollector {
    fn default() -> Self {
        Self::new()
    }
}

fn started_by_kernel() -> Option<f64> {
    let boot = procfs::boot_time_secs().ok()?;
    let stat = Process::myself().ok()?.stat().ok()?;
    Some(boot as f64 + stat.starttime as f64 / procfs::ticks_per_second() as f64)
}

fn cpu_family(stat: &Stat) -> Vec<MetricFamily> {
    let seconds = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
    let help = "Total user and system CPU time spent in seconds.";
    let counter = Counter::new("process_cpu_seconds_total", help).expect("a valid constant name");
    counter.inc_by(seconds);
    counter.collect()
}

fn gauge_family(name: &str, help: &str, value: f64) -> Vec<MetricFamily> {
    let gauge = Gauge::new(name, help).expect("a valid constant name");
    gauge.set(value);
    gauge.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(families: &[MetricFamily], name: &str) -> f64 {
        let family = families.iter().find(|family| family.name() == name);
        let metric = &family.unwrap_or_else(|| panic!("{name} is missing")).get_metric()[0];
        metric.get_gauge().get_value().max(metric.get_counter().get_value())
    }

    #[test]
    fn the_values_are_this_process() {
        let families = ProcessCollector::new().gather();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - value(&families, "process_start_time_seconds");
        assert!((-2.0..86_400.0).contains(&age), "the test began {age} s ago");
        assert!(value(&families, "process_open_fds") >= 3.0);
        assert!(value(&families, "process_max_fds") >= value(&families, "process_open_fds"));
        assert!(value(&families, "process_threads") >= 1.0);
        let resident = value(&families, "process_resident_memory_bytes");
        assert!(resident > 1e6 && resident < value(&families, "process_virtual_memory_bytes"));
    }

    #[test]
    fn an_open_file_is_counted() {
        let collector = ProcessCollector::new();
        // Other tests open files too, so many are opened and most must show.
        let before = value(&collector.gather(), "process_open_fds");
        let _files: Vec<_> =
            (0..200).map(|_| std::fs::File::open("/proc/self/stat").unwrap()).collect();
        assert!(value(&collector.gather(), "process_open_fds") > before + 100.0);
    }
}
