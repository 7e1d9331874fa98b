//! Chains of rules, and the way of a packet through them.

use super::packet::Match;

/// Where in the packet's way a chain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hook {
    Prerouting,
    Input,
    Forward,
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
    pub(super) drops: bool,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) matches: Match,
    pub(super) action: Action,
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
    /// It passes.
    Passes,
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

/// The packet's way through the base chains at `hook`, in order.
pub(super) fn fate(chains: &[Chain], hook: Hook) -> Fate {
    let mut bases: Vec<(&Chain, Base)> = chains
        .iter()
        .filter_map(|chain| Some((chain, chain.base.filter(|base| base.hook == hook)?)))
        .collect();
    bases.sort_by_key(|(_, base)| base.priority);
    for (chain, base) in bases {
        let mut doubt = None;
        let place = |at: String, rule, doubt| Place {
            keeper: chain.keeper,
            table: chain.table.clone(),
            base: chain.name.clone(),
            chain: at,
            rule,
            doubt,
        };
        match walk(chains, chain, DEPTH, &mut doubt) {
            // Accepted here; the next base chain may think otherwise.
            Verdict::Accept => {}
            Verdict::Drop(at, rule) => return Fate::Dropped(place(at, rule, doubt)),
            Verdict::Reject(at, rule) => return Fate::Rejected(place(at, rule, doubt)),
            Verdict::Return if base.drops => {
                return Fate::Dropped(place(chain.name.clone(), None, doubt));
            }
            Verdict::Return => {}
        }
    }
    Fate::Passes
}

fn walk(chains: &[Chain], chain: &Chain, depth: usize, doubt: &mut Option<String>) -> Verdict {
    let Some(depth) = depth.checked_sub(1) else { return Verdict::Return };
    let called = |name: &str, doubt: &mut Option<String>| {
        let mut all = chains.iter();
        let found = all.find(|it| it.table == chain.table && it.name == name);
        found.map_or(Verdict::Return, |found| walk(chains, found, depth, doubt))
    };
    for rule in &chain.rules {
        match (rule.matches, &rule.action) {
            (Match::No, _) | (_, Action::Continue) => {}
            (Match::Perhaps, Action::Drop | Action::Reject) => {}
            (Match::Perhaps, _) => {
                doubt.get_or_insert_with(|| rule.text.clone());
            }
            (Match::Yes, Action::Accept) => return Verdict::Accept,
            (Match::Yes, Action::Drop) => {
                return Verdict::Drop(chain.name.clone(), Some(rule.text.clone()));
            }
            (Match::Yes, Action::Reject) => {
                return Verdict::Reject(chain.name.clone(), Some(rule.text.clone()));
            }
            (Match::Yes, Action::Return) => return Verdict::Return,
            (Match::Yes, Action::Jump(name)) => match called(name, doubt) {
                Verdict::Return => {}
                verdict => return verdict,
            },
            (Match::Yes, Action::Goto(name)) => return called(name, doubt),
        }
    }
    Verdict::Return
}
