//! The pages for people: what never changes rendered when the daemon starts, the landing page for
//! each who asks.

use bytes::Bytes;
use minijinja::{AutoEscape, Environment, Value, context};
use warp::http::HeaderMap;
use warp::http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use warp::reply::Response;

use super::endpoints::{self, ENDPOINTS};

/// A page may style itself and link; it loads and runs nothing.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";

/// The templates, and the pages that were rendered.
#[derive(Debug)]
pub(super) struct Pages {
    templates: Environment<'static>,
    pub(super) help: Bytes,
    pub(super) help_text: Bytes,
}

impl Pages {
    /// `chat_help` is the help of the chat commands in Chinese and in English.
    pub(super) fn new(chat_help: (&str, &str)) -> Self {
        let mut templates = Environment::new();
        templates.set_auto_escape_callback(|_| AutoEscape::Html);
        for (name, source) in [
            ("layout.html", include_str!("pages/layout.html")),
            ("landing.html", include_str!("pages/landing.html")),
            ("help.html", include_str!("pages/help.html")),
        ] {
            templates.add_template(name, source).expect("the templates are constants that parse");
        }
        let endpoints: Vec<_> = ENDPOINTS
            .iter()
            .map(|endpoint| {
                context! {
                    name => endpoint.name,
                    // A constant; escaped, its slash would be unreadable.
                    path => Value::from_safe_string(endpoint.path.into()),
                    chinese => endpoint.chinese,
                    english => endpoint.english,
                }
            })
            .collect();
        templates.add_global("endpoints", endpoints);
        let chat = context! {
            chat_chinese => chat_help.0.trim_end(),
            chat_english => chat_help.1.trim_end(),
        };
        let help = render(&templates, "help.html", chat);
        Self { templates, help, help_text: endpoints::help(chat_help).into() }
    }

    /// The landing page with these values.
    pub(super) fn landing(&self, values: Value) -> Bytes {
        render(&self.templates, "landing.html", values)
    }
}

fn render(templates: &Environment<'_>, name: &str, values: Value) -> Bytes {
    let fill = |name, values: Value| {
        let template = templates.get_template(name).expect("it was added with the others");
        template.render(values).expect("the templates name only values given to them")
    };
    let content = Value::from_safe_string(fill(name, values));
    fill("layout.html", context! { version => crate::VERSION, content }).into()
}

/// A page as an answer.
pub(super) fn html(page: &Bytes) -> Response {
    let mut response = page_of(page, "text/html; charset=utf-8");
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Plain text as an answer.
pub(super) fn text(text: &Bytes) -> Response {
    page_of(text, "text/plain; charset=utf-8")
}

fn page_of(body: &Bytes, media: &'static str) -> Response {
    let mut response = Response::new(body.clone().into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_landing_page_links_the_rest() {
        let pages = Pages::new(("", ""));
        let landing = pages.landing(context! { state => context! { class => "ok" } });
        let landing = std::str::from_utf8(&landing).unwrap();
        for path in ["/health", "/help", "/metrics"] {
            assert!(landing.contains(&format!("href=\"{path}\"")), "{path} is not linked");
        }
        assert!(!landing.contains("{{") && !landing.contains("{%"));
    }

    #[test]
    fn text_is_escaped_on_a_page_and_not_elsewhere() {
        let pages = Pages::new(("/记住 <内容>", "/remember <TEXT> & more"));
        let help = std::str::from_utf8(&pages.help).unwrap();
        assert!(help.contains("remember &lt;TEXT&gt; &amp; more"));
        assert!(std::str::from_utf8(&pages.help_text).unwrap().contains("/remember <TEXT> & more"));
    }
}
