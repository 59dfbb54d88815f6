//! What can be asked of every list: pages, a filter by name, an order, some columns alone.

use std::cmp::Ordering;

use serde_json::{Map, Value as Json, json};

use super::answer::Answer;
use super::request::Head;
use super::route::Reply;

/// RabbitMQ's.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 500;

/// The answer in the shape that the query asks for.
pub(super) fn shaped(mut answer: Answer, head: &Head) -> Reply {
    let Some(body) = answer.body.take() else { return Ok(answer) };
    let mut body = match body {
        Json::Array(items) => listed(items, head)?,
        other => other,
    };
    if let Some(columns) = head.asks("columns") {
        let columns: Vec<&str> = columns.split(',').collect();
        match &mut body {
            Json::Array(items) => items.iter_mut().for_each(|item| keep(item, &columns)),
            Json::Object(page) if page.contains_key("items") => {
                if let Some(Json::Array(items)) = page.get_mut("items") {
                    items.iter_mut().for_each(|item| keep(item, &columns));
                }
            }
            other => keep(other, &columns),
        }
    }
    answer.body = Some(body);
    Ok(answer)
}

fn listed(mut items: Vec<Json>, head: &Head) -> Result<Json, Answer> {
    let total = items.len();
    if let Some(key) = head.asks("sort") {
        items.sort_by(|a, b| compare(at(a, key), at(b, key)));
        if head.wants("sort_reverse") {
            items.reverse();
        }
    }
    let Some(page) = head.asks("page") else { return Ok(Json::Array(items)) };
    let size = head.asks("page_size");
    let numbers = (page.parse::<usize>().ok(), size.map_or(Some(PAGE), |size| size.parse().ok()));
    let (page, size) = match numbers {
        (Some(page @ 1..), Some(size @ 1..=LARGEST_PAGE)) => (page, size),
        _ => {
            let size = size.unwrap_or("undefined");
            return Err(Answer::error(
                400,
                "invalid_pagination_parameters",
                format!("Invalid pagination parameters: page number {page}, page size {size}"),
            ));
        }
    };
    if let Some(filter) = head.asks("name").filter(|filter| !filter.is_empty()) {
        let pattern = if head.wants("use_regex") {
            regex::Regex::new(filter).map_err(|error| Answer::bad(error.to_string()))?
        } else {
            regex::Regex::new(&format!("(?i){}", regex::escape(filter)))
                .map_err(|error| Answer::bad(error.to_string()))?
        };
        items.retain(|item| item["name"].as_str().is_some_and(|name| pattern.is_match(name)));
    }
    let filtered = items.len();
    let pages = filtered.div_ceil(size).max(1);
    if page > pages {
        let reason = format!("Page out of range, page: {page} page size: {size}, len: {filtered}");
        return Err(Answer::error(400, "page_out_of_range", reason));
    }
    let items: Vec<Json> = items.into_iter().skip((page - 1) * size).take(size).collect();
    Ok(json!({
        "filtered_count": filtered,
        "item_count": items.len(),
        "items": items,
        "page": page,
        "page_count": pages,
        "page_size": size,
        "total_count": total,
    }))
}

/// What is under a key like `queue.name`.
fn at<'a>(item: &'a Json, key: &str) -> &'a Json {
    key.split('.').fold(item, |item, part| &item[part])
}

fn compare(a: &Json, b: &Json) -> Ordering {
    match (a, b) {
        (Json::String(a), Json::String(b)) => a.cmp(b),
        (Json::Bool(a), Json::Bool(b)) => a.cmp(b),
        _ => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal),
    }
}

fn keep(item: &mut Json, columns: &[&str]) {
    let Json::Object(all) = item else { return };
    let mut kept = Map::new();
    for column in columns {
        let (first, rest) = column.split_once('.').unwrap_or((column, ""));
        let Some(value) = all.get(first) else { continue };
        if rest.is_empty() {
            kept.insert(first.to_owned(), value.clone());
        } else if let Json::Object(part) =
            kept.entry(first).or_insert_with(|| Json::Object(Map::new()))
        {
            part.insert(rest.to_owned(), at(value, rest).clone());
        }
    }
    *all = kept;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &[(&str, &str)], expect: Result<Json, u16>) {
        let query = query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let head = Head { query, ..Head::default() };
        let items = json!([
            {"name": "b", "n": 1, "in": {"x": 1, "y": 2}},
            {"name": "a", "n": 3},
            {"name": "Ab", "n": 2},
        ]);
        let got = shaped(Answer::ok(items), &head);
        assert_eq!(got.map(|a| a.body.expect("a list")).map_err(|a| a.status), expect);
    }

    #[test]
    fn lists_are_sorted_cut_and_thinned() {
        check(&[("sort", "n"), ("columns", "n")], Ok(json!([{"n": 1}, {"n": 2}, {"n": 3}])));
        check(
            &[("sort", "name"), ("sort_reverse", "true"), ("columns", "name")],
            Ok(json!([{"name": "b"}, {"name": "a"}, {"name": "Ab"}])),
        );
        check(
            &[("columns", "in.x"), ("page", "1"), ("page_size", "1")],
            Ok(json!({"filtered_count": 3, "item_count": 1, "items": [{"in": {"x": 1}}],
                      "page": 1, "page_count": 3, "page_size": 1, "total_count": 3})),
        );
        check(
            &[("columns", "name"), ("page", "1"), ("name", "a")],
            Ok(json!({"filtered_count": 2, "item_count": 2,
                      "items": [{"name": "a"}, {"name": "Ab"}],
                      "page": 1, "page_count": 1, "page_size": 100, "total_count": 3})),
        );
        check(&[("page", "0")], Err(400));
        check(&[("page", "2")], Err(400));
        check(&[("page", "1"), ("page_size", "501")], Err(400));
        check(&[("page", "1"), ("name", "("), ("use_regex", "true")], Err(400));
    }
}
