//! What the operating system says about this process: memory, processor time, descriptors. Linux only.

use super::page::Page;
use super::table;
use std::fs;

/// Adds what can be had; what cannot is left out.
pub(super) fn gather(page: &mut Page) {
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // Reading the directory takes a descriptor of its own.
        let used = entries.count().saturating_sub(1) as f64;
        page.one(&table::OPEN_FDS, used);
        page.one(&table::FD_USED, used);
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.map_or(f64::INFINITY, |limit| limit as f64);
    page.one(&table::MAX_FDS, limit);
    page.one(&table::FD_LIMIT, limit);
    if let Some(stat) = Stat::read() {
        page.one(&table::CPU_SECONDS, stat.cpu_s);
        page.one(&table::VIRTUAL, stat.virtual_bytes);
        page.one(&table::RESIDENT, stat.resident_bytes);
        if let Some(booted_s) = booted_s() {
            page.one(&table::STARTED_AT, booted_s + stat.started_s);
        }
    }
}

struct Stat {
    cpu_s: f64,
    /// Since the machine was booted.
    started_s: f64,
    virtual_bytes: f64,
    resident_bytes: f64,
}

impl Stat {
    fn read() -> Option<Stat> {
        let text = fs::read_to_string("/proc/self/stat").ok()?;
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        Stat::parse(&text, ticks, rustix::param::page_size() as f64)
    }

    /// `proc(5)`: the second field is the program's name in brackets and may hold anything.
    fn parse(text: &str, ticks: f64, page_bytes: f64) -> Option<Stat> {
        let after_name = text.rsplit_once(')')?.1;
        let fields: Vec<f64> = after_name
            .split_whitespace()
            .map(|field| field.parse().unwrap_or(0.0))
            .collect();
        // The first field here is the third of the page's numbering.
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Stat {
            cpu_s: (field(14)? + field(15)?) / ticks,
            started_s: field(22)? / ticks,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * page_bytes,
        })
    }
}

/// When the machine was booted, in seconds since 1970.
fn booted_s() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let line = text.lines().find(|line| line.starts_with("btime "))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_no_harm() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 4 0 1000 8192 3 18446744073709551615";
        let stat = Stat::parse(text, 100.0, 4096.0).expect("all fields");
        assert!((stat.cpu_s - 3.0).abs() < 1e-9);
        assert!((stat.started_s - 10.0).abs() < 1e-9);
        assert!((stat.virtual_bytes - 8192.0).abs() < 1e-9);
        assert!((stat.resident_bytes - 12288.0).abs() < 1e-9);
        assert!(Stat::parse("no brackets", 100.0, 1.0).is_none());
    }
}
