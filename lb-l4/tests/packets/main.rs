//! The forwarder, packet by packet: every packet goes through the program in the kernel
//! (BPF_PROG_TEST_RUN) and through a model in Rust, and both must do the same.
//!
//! | module | what it does |
//! |---|---|
//! | [`model`] | the oracle |
//! | [`harness`] | namespace, maps, and the comparison |
//! | [`cases`] | the table of named cases |
//! | [`truncated`] | each kind of packet, cut at every byte |
//! | [`random`] | sequences that proptest makes |
//! | [`table`] | a full table |
//! | [`packet`] | builds frames |
//! | [`checks`] | reads frames back, by another implementation |

mod cases;
mod checks;
mod harness;
mod model;
mod packet;
mod random;
mod shortcuts;
mod table;
mod truncated;

use std::panic::{AssertUnwindSafe, catch_unwind};

use harness::bench::Bench;
use model::Hook;

#[test]
fn every_named_case_on_xdp() {
    every_named_case(Hook::Xdp);
}

#[test]
fn every_named_case_on_tc() {
    every_named_case(Hook::Tc);
}

#[test]
fn every_packet_cut_at_every_byte_on_xdp() {
    if let Some(mut bench) = Bench::open(Hook::Xdp) {
        println!("{} frames", truncated::run(&mut bench));
    }
}

#[test]
fn every_packet_cut_at_every_byte_on_tc() {
    if let Some(mut bench) = Bench::open(Hook::Tc) {
        println!("{} frames", truncated::run(&mut bench));
    }
}

#[test]
fn random_packets_on_xdp() {
    if let Some(bench) = Bench::open(Hook::Xdp) {
        println!("{} packets", random::run(bench));
    }
}

#[test]
fn random_packets_on_tc() {
    if let Some(bench) = Bench::open(Hook::Tc) {
        println!("{} packets", random::run(bench));
    }
}

#[test]
fn full_table_on_xdp() {
    full_table(Hook::Xdp);
}

#[test]
fn full_table_on_tc() {
    full_table(Hook::Tc);
}

#[test]
fn shortcuts_on_xdp() {
    if let Some(mut bench) = Bench::open(Hook::Xdp) {
        shortcuts::run(&mut bench);
    }
}

#[test]
fn shortcuts_on_tc() {
    if let Some(mut bench) = Bench::open(Hook::Tc) {
        shortcuts::run(&mut bench);
    }
}

fn full_table(hook: Hook) {
    let Some(mut bench) = Bench::open(hook) else { return };
    for (name, run) in table::CASES {
        println!("{name}");
        bench.reset();
        run(&mut bench);
    }
}

fn every_named_case(hook: Hook) {
    let Some(mut bench) = Bench::open(hook) else { return };
    let mut failed = Vec::new();
    let mut count = 0;
    for (subject, rows) in cases::SUBJECTS {
        for ((name, run), v6) in rows.iter().flat_map(|row| [(row, false), (row, true)]) {
            count += 1;
            bench.reset();
            if catch_unwind(AssertUnwindSafe(|| run(&mut bench, v6))).is_err() {
                failed.push(format!("{subject}, {}: {name}", if v6 { "IPv6" } else { "IPv4" }));
            }
        }
    }
    println!("{count} cases on {hook:?}");
    assert!(failed.is_empty(), "{} of {count} cases failed on {hook:?}:\n{}", failed.len(), failed.join("\n"));
}
