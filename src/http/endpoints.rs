//! Every endpoint, worded for a reader; and the help, which also has the chat commands as the bot
//! words them.

/// An endpoint, for a reader.
pub(super) struct Endpoint {
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    pub(super) chinese: &'static str,
    pub(super) english: &'static str,
}

/// Every endpoint of the server.
pub(super) const ENDPOINTS: [Endpoint; 9] = [
    Endpoint {
        name: "GET /",
        path: "/",
        chinese: "服务是否在运行；浏览器得到首页",
        english: "whether the server runs; a browser gets the landing page",
    },
    Endpoint {
        name: "GET /health",
        path: "/health",
        chinese: "机器人能否接收并保存消息；?verbose=1 列出各项检查",
        english: "whether messages can be accepted and kept; ?verbose=1 lists the checks",
    },
    Endpoint { name: "GET /help", path: "/help", chinese: "本帮助", english: "this help" },
    Endpoint {
        name: "GET /metrics",
        path: "/metrics",
        chinese: "Prometheus 指标",
        english: "metrics for Prometheus",
    },
    Endpoint {
        name: "POST /webhook",
        path: "",
        chinese: "钉钉机器人回调地址；不带 sessionWebhook 时直接返回回答",
        english: "callback address of the DingTalk robot; without a sessionWebhook the answer \
                  comes back at once",
    },
    Endpoint {
        name: "POST /dingtalk/{robot}/send",
        path: "",
        chinese: "Alertmanager 的告警，发到名为 robot 的群机器人；凭 server.api_keys 或限本机",
        english: "alerts of Alertmanager, for the group robot of that name; with one of \
                  server.api_keys, or from this host",
    },
    Endpoint {
        name: "/v1/… /v2/… /v3/…",
        path: "",
        chinese: "长期记忆，Mem0 平台客户端的接口；凭密钥或限本机",
        english: "long-term memory, for clients of Mem0's platform; with a key, or from this host",
    },
    Endpoint {
        name: "/memories /search /entities",
        path: "",
        chinese: "同样，Mem0 开源服务的接口",
        english: "the same, for clients of Mem0's open-source server",
    },
    Endpoint {
        name: "/mcp",
        path: "",
        chinese: "长期记忆的 MCP 工具（Streamable HTTP）",
        english: "long-term memory as tools of the Model Context Protocol (Streamable HTTP)",
    },
];

/// The help as plain text: Chinese first, English below.
pub(super) fn help((chinese, english): (&str, &str)) -> String {
    let width = ENDPOINTS.iter().map(|endpoint| endpoint.name.len()).max().unwrap_or(0);
    let list = |pick: fn(&Endpoint) -> &str| -> String {
        let line =
            |endpoint: &Endpoint| format!("  {:width$}  {}\n", endpoint.name, pick(endpoint));
        ENDPOINTS.iter().map(line).collect()
    };
    format!(
        "钉钉机器人 DingBot {version}\n\n接口\n{endpoints_zh}\n聊天命令\n{chinese}\n\n\
         ----------------------------------------\n\n\
         Endpoints\n{endpoints_en}\nChat commands\n{english}\n",
        version = crate::VERSION,
        endpoints_zh = list(|endpoint| endpoint.chinese),
        endpoints_en = list(|endpoint| endpoint.english),
        chinese = chinese.trim_end(),
        english = english.trim_end(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_languages_name_every_endpoint_and_the_commands() {
        let text = help(("/记住 内容\n", "/remember TEXT\n"));
        let (chinese, english) = text.split_once("\n----").unwrap();
        for part in [chinese, english] {
            for endpoint in &ENDPOINTS {
                assert!(part.contains(endpoint.name), "{} is missing", endpoint.name);
            }
        }
        assert!(chinese.contains("/记住 内容") && english.contains("/remember TEXT"));
    }
}
