//! What doctor says of the host's firewall, held to what the kernel does: random rulesets by the
//! real nft and iptables, a caller from outside, and doctor's word for each. What it calls the
//! remedy is carried out until the caller is answered.
//!
//! `DINGBOT_RULESETS` sets the number of rulesets, `DINGBOT_SEED` makes other choices.

mod caller;
mod iptables;
mod nft;
mod place;

use std::fmt;
use std::time::{Duration, Instant};

use fastrand::Rng;

use self::caller::Answer;
use self::place::{Place, Verdict};
use crate::docker::container::Container;

/// How many rulesets are tried where a process listens, and where a container does.
const OF_THE_HOST: usize = 40;
const OF_DOCKER: usize = 12;
/// The choices, unless others are asked for: a run is to be the same as the one before it.
const SEED: u64 = 20_261_123;
/// Of so many verdicts one may be that it cannot be told.
const ONE_UNCLEAR_IN: usize = 10;
/// A ruleset has no more obstacles than that, each of which is mended in turn.
const REMEDIES: usize = 12;
/// Of what is made at random some is no ruleset; so often another one is made.
const ATTEMPTS: usize = 40;

/// Where the rules of a ruleset stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// On the way to a process of the host, and back.
    Host,
    /// On the way to a container, and back.
    Docker,
}

/// What is loaded: each part with the program that takes it from its standard input.
#[derive(Debug, Clone)]
struct Ruleset(Vec<(&'static [&'static str], String)>);

impl Ruleset {
    fn random(random: &mut Rng, side: Side) -> Self {
        let mut parts = Vec::new();
        let kind = random.u8(..4);
        if kind != 0 {
            parts.push((&["nft", "-f", "-"][..], nft::ruleset(random, side)));
        }
        if kind < 2 {
            let program = &["iptables-restore", "--noflush"][..];
            parts.push((program, iptables::ruleset(random, side)));
        }
        Self(parts)
    }

    /// Whether there is something in it that doctor does not understand.
    fn is_not_understood(&self) -> bool {
        let unknown = || nft::UNKNOWN.iter().chain(&iptables::UNKNOWN);
        self.0.iter().any(|(_, script)| unknown().any(|it| script.contains(it)))
    }

    /// Whether it looks at what the host sends.
    fn filters_answers(&self) -> bool {
        self.0
            .iter()
            .any(|(_, script)| script.contains("hook output") || script.contains(":OUTPUT"))
    }
}

impl fmt::Display for Ruleset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (program, script) in &self.0 {
            writeln!(f, "# {}\n{script}", program.join(" "))?;
        }
        Ok(())
    }
}

/// What came of all rulesets.
#[derive(Debug, Default)]
struct Count {
    answered: usize,
    stopped: usize,
    unclear: usize,
    verdicts: usize,
    remedies: usize,
    invalid: usize,
    doctor: Duration,
    slowest: Duration,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answered, stopped, unclear, verdicts, remedies, invalid, .. } = self;
        let mean = self.doctor.as_millis() / u128::from(*verdicts as u64).max(1);
        write!(
            f,
            "{answered} answered, {stopped} stopped; {verdicts} verdicts, {unclear} of them \
             unclear; {remedies} remedies; doctor took {mean} ms, at most {} ms; {invalid} \
             rulesets were none",
            self.slowest.as_millis()
        )
    }
}

/// Whether doctor's word is what the caller sees.
fn agree(ruleset: &Ruleset, verdict: &Verdict, answer: Answer) -> bool {
    match verdict.code.as_str() {
        // A refusal is a packet, too, and has a way out.
        "firewall_rejects" if ruleset.filters_answers() && answer == Answer::Silent => true,
        // It ends one way or the other, before where it is certain.
        "firewall_rejects" | "firewall_drops" if ruleset.is_not_understood() => {
            answer != Answer::Answered
        }
        "firewall_open" => answer == Answer::Answered,
        // Where a connection comes to be and then hangs, it is of no weight how.
        "firewall_drops" => matches!(answer, Answer::Silent | Answer::Hangs),
        "firewall_rejects" => matches!(answer, Answer::Refused | Answer::Hangs),
        "forwarding_dropped" => answer != Answer::Answered,
        "firewall_unclear" => true,
        _ => false,
    }
}

/// Tries random rulesets, and mends each.
async fn try_all(place: &Place, side: Side, usual: usize) {
    let rulesets = number("DINGBOT_RULESETS").map_or(usual, |it| it as usize);
    let seed = number("DINGBOT_SEED").unwrap_or(SEED);
    println!("{side:?}: {rulesets} rulesets, DINGBOT_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    place.keep().await;
    let (began, mut count) = (Instant::now(), Count::default());
    for number in 0..rulesets {
        let ruleset = load(place, side, &mut random, &mut count).await;
        try_one(place, &ruleset, &mut count)
            .await
            .unwrap_or_else(|why| panic!("ruleset {number}, seed {seed}: {why}\n{ruleset}"));
        place.clear().await;
    }
    let took = began.elapsed();
    println!("{side:?}: {count}; {:.1} s", took.as_secs_f64());
    assert!(count.unclear * ONE_UNCLEAR_IN <= count.verdicts, "too much is unclear: {count}");
    if rulesets == usual {
        assert!(count.answered * 8 > rulesets && count.stopped * 8 > rulesets, "{count}");
    }
}

/// Loads a ruleset that the programs take.
async fn load(place: &Place, side: Side, random: &mut Rng, count: &mut Count) -> Ruleset {
    for _ in 0..ATTEMPTS {
        let ruleset = Ruleset::random(random, side);
        match place.load(&ruleset.0).await {
            Ok(()) => return ruleset,
            Err(why) => {
                if std::env::var_os("DINGBOT_SEED").is_some() {
                    println!("{why}\n{ruleset}");
                }
                count.invalid += 1;
                place.clear().await;
            }
        }
    }
    panic!("of {ATTEMPTS} rulesets none can be loaded");
}

async fn try_one(place: &Place, ruleset: &Ruleset, count: &mut Count) -> Result<(), String> {
    let mut done = Vec::new();
    for _ in 0..=REMEDIES {
        let mut answer = place.call().await;
        let verdict = place.verdict().await;
        count.verdicts += 1;
        count.doctor += verdict.took;
        count.slowest = count.slowest.max(verdict.took);
        if !agree(ruleset, &verdict, answer) {
            // A busy machine is slow to answer.
            answer = place.call_patiently().await;
        }
        if !agree(ruleset, &verdict, answer) {
            let now = place.shown().await;
            return Err(format!("{verdict:?}, but {answer:?} after {done:?}\n{now}"));
        }
        if done.is_empty() {
            let well = answer == Answer::Answered;
            count.answered += usize::from(well);
            count.stopped += usize::from(!well);
        }
        if verdict.code == "firewall_unclear" {
            println!("unclear, {answer:?}: {}", verdict.seen);
            count.unclear += 1;
            return Ok(());
        }
        if answer == Answer::Answered {
            return Ok(());
        }
        for command in &verdict.commands {
            place.sh(command).await.map_err(|why| format!("{verdict:?}: {why}"))?;
        }
        count.remedies += 1;
        done.push(verdict.commands);
    }
    Err(format!("still stopped after {done:?}; {} parts", ruleset.0.len()))
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {value}")))
}

#[test]
fn a_process_of_the_host() {
    let place = match Place::new() {
        Ok(place) => place,
        Err(why) => return println!("skipped: doctor and random rules of the firewall: {why}"),
    };
    place.within(async |place| {
        let _listener = caller::listen();
        try_all(place, Side::Host, OF_THE_HOST).await;
    });
}

#[test]
fn a_container() {
    let place = match Place::with_docker() {
        Ok(place) => place,
        Err(why) => return println!("skipped: doctor and random rules before Docker: {why}"),
    };
    place.within(async |place| {
        let options = ["-p", "9090:8080", "--health-interval", "1h"];
        let bot = Container::run(place.docker(), "dingbot", &options).await;
        bot.is_ready().await;
        try_all(place, Side::Docker, OF_DOCKER).await;
    });
}
