//! DingTalk, the model, and the way to them.

use crate::doctor::network::{DINGTALK, ECS_API, MODEL};
use crate::doctor::stand_in::StandIn;
use crate::doctor::table::Table;
use crate::support::model::{NO_SUCH_MODEL, Reply};
use crate::support::settings::Settings;

const API: &str = "api.dingtalk.example";

#[test]
fn the_upstreams() {
    let mut table = Table::new("钉钉与模型 / DingTalk and the model");

    table.fault(("DNS 不可用", "names are not resolved"), "dns_fails", async |lab| {
        lab.serve_names(&[(API, DINGTALK)]).await;
        let base = lab.dingtalk.base().replace(DINGTALK, API);
        let named = |settings: Settings| {
            settings.text("dingtalk.api_base", &base).text("dingtalk.oapi_base", &base)
        };
        let _bot = lab.bot_with(named).await;
        lab.stop_names().await;
        let report = lab.names(&[API]).await;
        lab.mends(&report, &["DNS"], "恢复 DNS / mend the name server");
        lab.serve_names(&[(API, DINGTALK)]).await;
        lab.is_mended().await;
    });

    table.fault(
        ("连不上钉钉", "DingTalk is not reached"),
        "dingtalk_unreachable",
        async |lab| {
            let nowhere = "http://203.0.113.99:8000";
            let lost = |settings: Settings| {
                settings.text("dingtalk.api_base", nowhere).text("dingtalk.oapi_base", nowhere)
            };
            let bot = lab.bot_with(lost).await;
            let report = lab.names(&["203.0.113.99"]).await;
            lab.mends(&report, &[], "恢复出方向的网络 / mend the way out");
            drop(bot);
            let _bot = lab.bot().await;
            lab.is_mended().await;
        },
    );

    table.fault(
        ("client_secret 不对", "the client_secret is wrong"),
        "dingtalk_credentials_refused",
        async |lab| {
            let wrong = |settings: Settings| settings.text("dingtalk.client_secret", "of-another");
            let bot = lab.bot_with(wrong).await;
            let report = lab.names(&["client_"]).await;
            lab.mends(&report, &["client_secret"], "填对密钥 / set the right secret");
            drop(bot);
            let _bot = lab.bot().await;
            lab.is_mended().await;
        },
    );

    table.fault(("robot_code 不对", "there is no such robot"), "robot_not_found", async |lab| {
        let wrong = |settings: Settings| settings.text("dingtalk.robot_code", "dingnobody");
        let bot = lab.bot_with(wrong).await;
        let report = lab.names(&["dingnobody"]).await;
        lab.mends(&report, &["robot_code"], "填对 robot_code / set the right robot_code");
        drop(bot);
        let _bot = lab.bot().await;
        lab.is_mended().await;
    });

    table.fault(("连不上模型", "the model is not reached"), "model_unreachable", async |lab| {
        let closed = format!("http://{MODEL}:9");
        let bot = lab.bot_with(|settings| settings.text("llm.base_url", &closed)).await;
        let report = lab.names(&[MODEL]).await;
        lab.mends(&report, &["llm.base_url"], "填对 llm.base_url / set llm.base_url");
        drop(bot);
        let _bot = lab.bot().await;
        lab.is_mended().await;
    });

    table.fault(
        ("模型密钥不对", "the key of the model is wrong"),
        "model_key_refused",
        async |lab| {
            let bot = lab.bot_with(|settings| settings.text("llm.api_key", "sk-of-another")).await;
            let report = lab.names(&["401"]).await;
            lab.mends(&report, &["llm.api_key"], "填对密钥 / set the right key");
            drop(bot);
            let _bot = lab.bot().await;
            lab.is_mended().await;
        },
    );

    table.fault(("模型名不存在", "there is no such model"), "model_not_found", async |lab| {
        let bot = lab.bot_with(|settings| settings.text("llm.model", NO_SUCH_MODEL)).await;
        let report = lab.names(&[NO_SUCH_MODEL]).await;
        lab.mends(&report, &["llm.model"], "填对模型名 / set the right name");
        drop(bot);
        let _bot = lab.bot().await;
        lab.is_mended().await;
    });

    table.fault(
        ("模型额度用完", "the quota of the model is gone"),
        "model_quota",
        async |lab| {
            let _bot = lab.bot().await;
            lab.model.answer_always(Reply::Status(402));
            let report = lab.names(&[]).await;
            lab.mends(&report, &[], "充值 / top up");
            lab.model.answer_always(Reply::text("well"));
            lab.is_mended().await;
        },
    );

    table.fault(
        ("被门户劫持：钉钉的地址答网页", "a portal answers in DingTalk's place"),
        "dingtalk_unreachable",
        async |lab| {
            let page = StandIn::answer("200 OK", "content-type: text/html\r\n", "<h1>Sign in</h1>");
            let portal = StandIn::at(&lab.network.cloud, "203.0.113.10:8000", page);
            let base = "http://203.0.113.10:8000";
            let lost = |settings: Settings| {
                settings.text("dingtalk.api_base", base).text("dingtalk.oapi_base", base)
            };
            let bot = lab.bot_with(lost).await;
            let report = lab.names(&["203.0.113.10"]).await;
            lab.mends(&report, &[], "换掉挡在中间的代理 / take the proxy away");
            portal.stop().await;
            drop(bot);
            let _bot = lab.bot().await;
            lab.is_mended().await;
        },
    );

    table.fault(
        ("本机时钟慢了两小时", "this clock is two hours behind"),
        "clock_skew",
        async |lab| {
            let clock = async |hours: i64| {
                let then = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours);
                let date = jiff::fmt::rfc2822::to_string(&then.to_zoned(jiff::tz::TimeZone::UTC));
                let headers = format!("date: {}\r\n", date.unwrap());
                let answer = StandIn::answer("404 Not Found", &headers, "{}");
                StandIn::at(&lab.network.cloud, "203.0.113.10:8000", answer)
            };
            // Without an application the callbacks' side of DingTalk alone is asked.
            let only_callbacks = |settings: Settings| {
                settings
                    .unset("dingtalk.client_id")
                    .text("dingtalk.oapi_base", "http://203.0.113.10:8000")
                    .text("llm.provider", "offline")
            };
            let ahead = clock(2).await;
            let _bot = lab.bot_with(only_callbacks).await;
            let report = lab.names(&["2h"]).await;
            lab.mends(&report, &["set-ntp"], "打开时间同步 / have the clock kept right");
            ahead.stop().await;
            let _right = clock(0).await;
            lab.is_mended().await;
        },
    );

    table.fault(
        ("模型的证书不是它的名字", "the model's certificate is for another name"),
        "model_tls",
        async |lab| {
            // The API of ECS, by its address, which its certificate does not name.
            let other = format!("https://{ECS_API}/v1");
            let bot = lab.bot_with(|settings| settings.text("llm.base_url", &other)).await;
            let report = lab.names(&[ECS_API]).await;
            lab.mends(
                &report,
                &[],
                "让代理放过它，或改 llm.base_url / have the proxy leave it alone",
            );
            drop(bot);
            let _bot = lab.bot().await;
            lab.is_mended().await;
        },
    );

    table.end();
}
