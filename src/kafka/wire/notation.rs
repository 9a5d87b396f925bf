//! Reading of `schema.txt`. What is read lives for ever: it is read once.

use bytes::Bytes;

use super::schema::{Api, FieldDef, Kind, Message, Span, StructDef};
use super::value::{Struct, Value};

/// A line that isn't in the notation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("schema line {line}: {why}")]
pub(super) struct Malformed {
    pub(super) line: usize,
    pub(super) why: &'static str,
}

struct Line<'a> {
    number: usize,
    depth: usize,
    words: Vec<&'a str>,
}

impl Line<'_> {
    fn bad(&self, why: &'static str) -> Malformed {
        Malformed { line: self.number, why }
    }

    fn word(&self, n: usize, why: &'static str) -> Result<&str, Malformed> {
        self.words.get(n).copied().ok_or_else(|| self.bad(why))
    }

    fn number<T: std::str::FromStr>(&self, text: &str) -> Result<T, Malformed> {
        text.parse().map_err(|_| self.bad("not a number"))
    }
}

fn leak(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

/// All APIs of the text, in its order.
pub(super) fn parse(text: &str) -> Result<Vec<Api>, Malformed> {
    let lines: Vec<Line<'_>> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|(n, line)| Line {
            number: n + 1,
            depth: line.len() - line.trim_start_matches(' ').len(),
            words: line.split_whitespace().collect(),
        })
        .collect();
    let mut apis: Vec<Api> = Vec::new();
    let mut rest = lines.as_slice();
    while let Some((line, below)) = rest.split_first() {
        rest = below;
        match line.word(0, "empty")? {
            "api" => apis.push(Api {
                key: line.number(line.word(1, "no key")?)?,
                name: leak(line.word(2, "no name")?),
                request: None,
                response: None,
            }),
            direction @ ("request" | "response") => {
                let api = apis.last_mut().ok_or_else(|| line.bad("a message without an API"))?;
                let versions = span(line, line.word(1, "no versions")?, i16::MAX)?;
                let flexible = match line.word(2, "no first flexible version")? {
                    "-" => None,
                    first => Some(line.number(first)?),
                };
                let (fields, after) = fields(below, 1, versions)?;
                rest = after;
                let message: &'static Message = Box::leak(Box::new(Message {
                    api_key: api.key,
                    label: leak(&format!("{} {direction}", api.name)),
                    versions,
                    flexible,
                    root: structure(api.name, fields),
                }));
                if direction == "request" {
                    api.request = Some(message);
                } else {
                    api.response = Some(message);
                }
            }
            _ => return Err(line.bad("neither an API nor a message")),
        }
    }
    Ok(apis)
}

fn structure(name: &'static str, fields: Vec<FieldDef>) -> &'static StructDef {
    let weight = 1 + fields
        .iter()
        .map(|f| match (f.kind, &f.default) {
            (Kind::Struct(def), Value::Struct(Some(_))) => def.weight,
            _ => 1,
        })
        .sum::<usize>();
    Box::leak(Box::new(StructDef { name, fields, weight }))
}

/// The lines of one structure: those that are `depth` deep, with what is below each.
fn fields<'a, 'l>(
    mut lines: &'a [Line<'l>],
    depth: usize,
    limit: Span,
) -> Result<(Vec<FieldDef>, &'a [Line<'l>]), Malformed> {
    let mut out = Vec::new();
    while let Some((line, below)) = lines.split_first() {
        if line.depth < depth {
            break;
        }
        if line.depth > depth {
            return Err(line.bad("indented too far"));
        }
        let (field, after) = field(line, below, limit)?;
        out.push(field);
        lines = after;
    }
    Ok((out, lines))
}

fn field<'a, 'l>(
    line: &Line<'l>,
    below: &'a [Line<'l>],
    limit: Span,
) -> Result<(FieldDef, &'a [Line<'l>]), Malformed> {
    let name = leak(line.word(0, "no name")?);
    let kind_text = line.word(1, "no type")?;
    let (mut versions, mut nullable, mut tag, mut default_text) = (limit, None, None, None);
    for word in line.words.iter().skip(2) {
        match word.split_at_checked(1) {
            Some(("?", "")) => nullable = Some(versions),
            Some(("?", range)) => nullable = Some(span(line, range, limit.max)?),
            Some(("#", number)) => tag = Some(line.number(number)?),
            Some(("=", text)) => default_text = Some(text),
            _ => versions = span(line, word, limit.max)?,
        }
    }
    // An open range of null ends where the field does.
    let nullable = nullable.map(|n| Span { min: n.min, max: n.max.min(versions.max) });
    if versions.min < limit.min || versions.max > limit.max {
        return Err(line.bad("in more versions than what holds it"));
    }
    let (kind, rest) = if let Some(base) = kind_text.strip_suffix("{}") {
        let (fields, rest) = fields(below, line.depth + 1, versions)?;
        let kind = Kind::Struct(structure(name, fields));
        match base {
            "" => (kind, rest),
            "[]" => (Kind::Array(Box::leak(Box::new(kind))), rest),
            _ => return Err(line.bad("unknown type")),
        }
    } else if let Some(base) = kind_text.strip_prefix("[]") {
        (Kind::Array(Box::leak(Box::new(scalar(line, base)?))), below)
    } else {
        (scalar(line, kind_text)?, below)
    };
    let default = default(line, kind, default_text)?;
    Ok((FieldDef { name, kind, versions, nullable, tag, default }, rest))
}

fn scalar(line: &Line<'_>, text: &str) -> Result<Kind, Malformed> {
    Ok(match text {
        "bool" => Kind::Bool,
        "i8" => Kind::I8,
        "i16" => Kind::I16,
        "i32" => Kind::I32,
        "i64" => Kind::I64,
        "u16" => Kind::U16,
        "u32" => Kind::U32,
        "f64" => Kind::F64,
        "uuid" => Kind::Uuid,
        "string" => Kind::Str,
        "bytes" | "records" => Kind::Bytes,
        _ => return Err(line.bad("unknown type")),
    })
}

fn default(line: &Line<'_>, kind: Kind, text: Option<&str>) -> Result<Value, Malformed> {
    let null = text == Some("null");
    let zero = text.unwrap_or("0");
    Ok(match kind {
        Kind::Bool => Value::Bool(text == Some("true")),
        Kind::I8 => Value::I8(line.number(zero)?),
        Kind::I16 => Value::I16(line.number(zero)?),
        Kind::I32 => Value::I32(line.number(zero)?),
        Kind::I64 => Value::I64(line.number(zero)?),
        Kind::U16 => Value::U16(line.number(zero)?),
        Kind::U32 => Value::U32(line.number(zero)?),
        Kind::F64 => Value::F64(line.number(zero)?),
        Kind::Uuid if text.is_none() => Value::Uuid([0; 16]),
        Kind::Str if null => Value::Str(None),
        Kind::Str if text.is_none() => Value::Str(Some(Bytes::new())),
        Kind::Bytes if null => Value::Bytes(None),
        Kind::Bytes if text.is_none() => Value::Bytes(Some(Bytes::new())),
        Kind::Array(_) if null => Value::Array(None),
        Kind::Array(_) if text.is_none() => Value::Array(Some(Vec::new())),
        Kind::Struct(_) if null => Value::Struct(None),
        Kind::Struct(def) if text.is_none() => Value::Struct(Some(Struct::new(def))),
        _ => return Err(line.bad("no such default for this type")),
    })
}

/// `3`, `3-5` or `3+` (up to `top`).
fn span(line: &Line<'_>, text: &str, top: i16) -> Result<Span, Malformed> {
    let span = if let Some(min) = text.strip_suffix('+') {
        Span { min: line.number(min)?, max: top }
    } else if let Some((min, max)) = text.split_once('-') {
        Span { min: line.number(min)?, max: line.number(max)? }
    } else {
        let only = line.number(text)?;
        Span { min: only, max: only }
    };
    if span.min > span.max { Err(line.bad("an empty range")) } else { Ok(span) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# a comment\n\napi 7 Name\nrequest 0-5 2\n a i32 1+ =-1\n list []{} 2-4 ?3+\n  b string ? #1 =null\n c []i8 ?\nresponse 0-5 -\n";

    #[test]
    fn a_description_reads_as_it_says() {
        let apis = parse(GOOD).unwrap();
        let m = apis[0].request.unwrap();
        assert_eq!((apis[0].key, apis[0].name, m.label()), (7, "Name", "Name request"));
        assert_eq!((m.versions(), m.is_flexible(1), m.is_flexible(2)), (0..=5, false, true));
        assert!(
            !apis[0].response.unwrap().is_flexible(5) && apis[0].response.unwrap().root.fields.is_empty()
        );
        let [a, list, c] = &m.root.fields[..] else { panic!("{:?}", m.root) };
        assert_eq!((a.name, a.versions, &a.default), ("a", Span { min: 1, max: 5 }, &Value::I32(-1)));
        assert_eq!((list.versions, list.nullable), (Span { min: 2, max: 4 }, Some(Span { min: 3, max: 4 })));
        let Kind::Array(&Kind::Struct(def)) = list.kind else { panic!("{:?}", list.kind) };
        let b = &def.fields[0];
        assert_eq!(
            (b.tag, b.nullable, &b.default),
            (Some(1), Some(Span { min: 2, max: 4 }), &Value::Str(None))
        );
        assert!(matches!(c.kind, Kind::Array(Kind::I8)));
    }

    #[test]
    fn each_malformed_line_is_an_error_that_names_it() {
        for (from, to, line) in [
            ("api 7 Name", "api seven Name", 3),
            ("api 7 Name", "api 7", 3),
            ("api 7 Name", "app 7 Name", 3),
            ("api 7 Name", "# nothing", 4),
            ("request 0-5 2", "request 0-5", 4),
            ("request 0-5 2", "request 5-0 2", 4),
            ("request 0-5 2", "request 0-5 two", 4),
            (" a i32", " a i31", 5),
            (" a i32", " a", 5),
            (" a i32", "   a i32", 5),
            ("1+ =-1", "1+ =one", 5),
            ("1+ =-1", "1-9", 5),
            ("1+ =-1", "1+ #x", 5),
            ("[]{} 2-4", "[][]{} 2-4", 6),
            ("[]{} 2-4", "[]x 2-4", 6),
            ("[]{} 2-4", "[]{} 2-4 =3", 6),
            ("?3+", "?x", 6),
            ("  b", "   b", 7),
            ("#1 =null", "#1 =some", 7),
            (" c []i8 ?", " c []i8 ? é", 8),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            assert_eq!(parse(&text).map(|_| ()).map_err(|e| e.line), Err(line), "{to}");
        }
    }
}
