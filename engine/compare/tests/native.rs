//! The interpreter against the host's own CPU. More sequences by RINGFENCE_COMPARE_COUNT, or with the
//! package's program, which also replays a difference by its seed and index.

use compare::ENOUGH;
use compare::campaign::{Campaign, Summary};

fn count() -> u64 {
    let asked = std::env::var("RINGFENCE_COMPARE_COUNT").ok();
    asked.map_or(2 * ENOUGH, |count| count.parse().expect("RINGFENCE_COMPARE_COUNT is a number of sequences"))
}

fn tell(summary: &Summary) -> String {
    summary.reports.iter().map(|report| format!("\n{report}")).collect()
}

#[test]
fn random_sequences_agree_with_the_host() {
    let campaign = Campaign { count: count(), ..Campaign::default() };
    let summary = campaign.run(&interpret::Interpreter, &|_| {}).unwrap();
    println!("{}", summary.coverage);
    assert_eq!(summary.differing, 0, "{}", tell(&summary));
    assert_eq!(summary.cases, campaign.count);
    assert_eq!(summary.deaths, 0, "the native child does not die of its cases");
    assert_eq!(summary.coverage.missing(&summary.catalog), [], "every family offered is exercised");
}

#[test]
fn a_case_is_the_same_whenever_it_is_made() {
    let campaign = Campaign { count: 64, jobs: 2, ..Campaign::default() };
    let first = campaign.run(&interpret::Interpreter, &|_| {}).unwrap();
    let again = Campaign { jobs: 1, ..campaign }.run(&interpret::Interpreter, &|_| {}).unwrap();
    assert_eq!(first.coverage.by_mnemonic(), again.coverage.by_mnemonic());
}
