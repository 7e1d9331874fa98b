//! This host's clock against theirs.

use jiff::{SignedDuration, Unit};

use super::Upstream;
use super::way::Went;
use crate::doctor::finding::{Depth, Finding, Remedy, Text};

/// What the way there and back, and a whole second in `Date`, explain.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(60);
/// DingTalk's signatures are good for an hour; a little before that it is high time.
const TOO_FAR: SignedDuration = SignedDuration::from_mins(50);

/// What the answers' dates say of this clock. DingTalk's is believed before that of a model, which
/// may stand in somebody's cellar.
pub(super) fn look(went: &[Went]) -> Option<Finding> {
    let by =
        |upstream| went.iter().find_map(move |it| it.ahead.filter(|_| it.upstream == upstream));
    let upstream =
        [Upstream::DingTalk, Upstream::Model].into_iter().find(|it| by(*it).is_some())?;
    let ahead = by(upstream)?;
    let ((chinese, english), off) = (upstream.named(), ahead.abs());
    if off < TOLERANCE {
        return Some(Finding::fine(
            "clock_right",
            Text::new(
                format!("本机时钟与{chinese}一致"),
                format!("this clock agrees with that of {english}"),
            ),
        ));
    }
    // The answer was on its way for a part of a second.
    let whole = off.round(Unit::Minute).unwrap_or(off);
    let behind = ahead.is_positive();
    let (slow, late) = if behind { ("慢", "behind") } else { ("快", "ahead of") };
    let seen = Text::new(
        format!(
            "本机时钟比{chinese}的{slow} {whole:#}；差到一小时，钉钉的回调和群机器人的签名都会被拒绝"
        ),
        format!(
            "this clock is {whole:#} {late} that of {english}; at an hour, callbacks and the \
             signatures of group robots are refused"
        ),
    );
    let remedy = Remedy::new(Text::new(
        "打开时间同步（ECS 的 NTP 服务器是 ntp.cloud.aliyuncs.com）",
        "Have the clock kept right (the NTP server of ECS is ntp.cloud.aliyuncs.com)",
    ))
    .command("sudo timedatectl set-ntp true")
    .command("sudo systemctl restart chrony || sudo systemctl restart systemd-timesyncd")
    .command("timedatectl status");
    Some(if off >= TOO_FAR {
        Finding::failed("clock_skew", Depth::Clock, seen, remedy)
    } else {
        Finding::warning("clock_skew", Depth::Clock, seen, remedy)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    fn went(upstream: Upstream, seconds: i64) -> Went {
        let ahead = Some(SignedDuration::from_secs(seconds));
        Went { upstream, findings: Vec::new(), ahead }
    }

    #[test]
    fn a_clock_is_judged_by_dingtalk_before_the_model() {
        let judged = |went: &[Went]| look(went).map(|it| (it.state, it.seen.english().to_owned()));
        assert!(judged(&[]).is_none());
        let close = [went(Upstream::DingTalk, 3), went(Upstream::Model, 9_000)];
        assert_eq!(judged(&close).unwrap().0, State::Fine);
        let (state, seen) = judged(&[went(Upstream::Model, -120)]).unwrap();
        assert_eq!(state, State::Warning);
        assert!(seen.contains("2m ahead of that of the model"), "{seen}");
        let (state, seen) = judged(&[went(Upstream::DingTalk, 7_200)]).unwrap();
        assert_eq!(state, State::Failed);
        assert!(seen.contains("2h behind that of DingTalk"), "{seen}");
    }
}
