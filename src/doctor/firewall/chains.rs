//! Chains of rules, and the way of a packet through them.

use std::cmp::Reverse;
use std::ops::RangeInclusive;

use super::packet::Match;

/// Where in the packet's way a chain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hook {
    Ingress,
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
    Other,
}

/// Who keeps a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeper {
    Nftables,
    Iptables,
}

/// The rules of one chain, judged for the packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) keeper: Keeper,
    /// Family and table, such as `inet filter`.
    pub(super) table: String,
    pub(super) name: String,
    /// Of a base chain: where it stands, after which others, and what happens at its end.
    pub(super) base: Option<Base>,
    pub(super) rules: Vec<Rule>,
}

/// What makes a chain a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) hook: Hook,
    pub(super) priority: i64,
    /// Which of all chains it is in the kernel's list: of several with the same priority the one
    /// that was made last sees the packet first.
    pub(super) number: usize,
    pub(super) drops: bool,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) matches: Match,
    pub(super) action: Action,
    /// Whether it is for the packet's port by name, not for all that there is.
    pub(super) is_for_port: bool,
    /// As its keeper writes it.
    pub(super) text: String,
}

/// What a rule does with a packet that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Goes on to the next rule.
    Continue,
    Accept,
    Drop,
    Reject,
    Jump(String),
    Goto(String),
    Return,
}

/// Where a packet ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It passes; perhaps: this rule might end it, and is not understood.
    Passes(Option<Place>),
    /// It vanishes.
    Dropped(Place),
    /// Its sender is told.
    Rejected(Place),
}

/// The rule, or the policy, that ended it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) keeper: Keeper,
    pub(super) table: String,
    /// The base chain: a rule for this packet at its beginning would decide before.
    pub(super) base: String,
    pub(super) chain: String,
    /// The rule; none: the policy.
    pub(super) rule: Option<String>,
    /// A rule that might have let it pass, and is not understood.
    pub(super) doubt: Option<String>,
}

/// Chains call one another at most so deep (the kernel allows 16).
const DEPTH: usize = 16;

/// What one chain did.
enum Verdict {
    Accept,
    Drop(String, Option<String>),
    Reject(String, Option<String>),
    Return,
}

/// What was not certain on the way.
#[derive(Debug, Default)]
struct Doubts {
    /// A rule that might let the packet pass.
    pass: Option<String>,
    /// The chain and the rule that might end it.
    end: Option<(String, String)>,
}

/// The packet's way through the base chains at `hook` with these priorities, in order.
pub(super) fn fate(chains: &[Chain], hook: Hook, priorities: &RangeInclusive<i64>) -> Fate {
    let mut bases: Vec<(&Chain, Base)> = chains
        .iter()
        .filter_map(|chain| Some((chain, chain.base?)))
        .filter(|(_, base)| base.hook == hook && priorities.contains(&base.priority))
        .collect();
    bases.sort_by_key(|(_, base)| (base.priority, Reverse(base.number)));
    let mut perhaps = None;
    for (chain, base) in bases {
        let mut doubts = Doubts::default();
        let place = |at: String, rule, doubt| Place {
            keeper: chain.keeper,
            table: chain.table.clone(),
            base: chain.name.clone(),
            chain: at,
            rule,
            doubt,
        };
        match walk(chains, chain, DEPTH, &mut doubts) {
            Verdict::Drop(at, rule) => return Fate::Dropped(place(at, rule, doubts.pass)),
            Verdict::Reject(at, rule) => return Fate::Rejected(place(at, rule, doubts.pass)),
            Verdict::Return if base.drops => {
                return Fate::Dropped(place(chain.name.clone(), None, doubts.pass));
            }
            // Accepted here; the next base chain may think otherwise.
            Verdict::Accept | Verdict::Return => {
                let end = doubts.end.map(|(at, rule)| place(at, Some(rule.clone()), Some(rule)));
                perhaps = perhaps.or(end);
            }
        }
    }
    Fate::Passes(perhaps)
}

fn walk(chains: &[Chain], chain: &Chain, depth: usize, doubts: &mut Doubts) -> Verdict {
    let Some(depth) = depth.checked_sub(1) else { return Verdict::Return };
    let called = |name: &str, doubts: &mut Doubts| {
        let mut all = chains.iter();
        let found =
            all.find(|it| it.keeper == chain.keeper && it.table == chain.table && it.name == name);
        found.map_or(Verdict::Return, |found| walk(chains, found, depth, doubts))
    };
    for rule in &chain.rules {
        let text = || rule.text.clone();
        match (rule.matches, &rule.action) {
            (Match::No, _) | (_, Action::Continue) => {}
            (Match::Perhaps, Action::Accept | Action::Return) => {
                doubts.pass.get_or_insert_with(text);
            }
            // What is for some callers, or for too many calls at once, is not for this one.
            (Match::Perhaps, Action::Drop | Action::Reject) => {
                if rule.is_for_port {
                    doubts.end.get_or_insert_with(|| (chain.name.clone(), text()));
                }
            }
            (Match::Perhaps, Action::Jump(name) | Action::Goto(name)) => {
                match called(name, &mut Doubts::default()) {
                    Verdict::Accept => {
                        doubts.pass.get_or_insert_with(text);
                    }
                    Verdict::Drop(..) | Verdict::Reject(..) if rule.is_for_port => {
                        doubts.end.get_or_insert_with(|| (chain.name.clone(), text()));
                    }
                    Verdict::Return if matches!(rule.action, Action::Goto(_)) => {
                        doubts.pass.get_or_insert_with(text);
                    }
                    Verdict::Drop(..) | Verdict::Reject(..) | Verdict::Return => {}
                }
            }
            (Match::Yes, Action::Accept) => return Verdict::Accept,
            (Match::Yes, Action::Drop) => return Verdict::Drop(chain.name.clone(), Some(text())),
            (Match::Yes, Action::Reject) => {
                return Verdict::Reject(chain.name.clone(), Some(text()));
            }
            (Match::Yes, Action::Return) => return Verdict::Return,
            (Match::Yes, Action::Jump(name)) => match called(name, doubts) {
                Verdict::Return => {}
                verdict => return verdict,
            },
            (Match::Yes, Action::Goto(name)) => return called(name, doubts),
        }
    }
    Verdict::Return
}
