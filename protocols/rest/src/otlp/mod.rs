//! `POST /v1/metrics`, or `/v1/otlp/v1/metrics`: metrics of OpenTelemetry, as OTLP sends them over HTTP.
//!
//! A metric is a table of its name, as a measurement of the [line protocol](crate::line) is; its attributes and those of its resource are
//! tags. The columns for the values:
//!
//! | kind | columns |
//! | --- | --- |
//! | gauge, sum | `value` |
//! | histogram | `count`, `sum`, `min`, `max`, and `le_0.5`, …, `le_inf`: how many were at most so large |
//! | exponential histogram | `count`, `sum`, `min`, `max` |
//! | summary | `count`, `sum`, `quantile_0.99`, … |
//!
//! The answer is 200 once all points are in the log; a request is all or nothing, so nothing is ever partly rejected. A request that
//! comes again changes nothing.

mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;

use crate::address::Address;
use crate::error::{Answer, Problem};
use crate::identity::Caller;
use crate::line::{self, Field, Line};
use crate::server::{Door, body_object, read_body};
use crate::sql::content_type;
use wire::{AnyValue, Export, KeyValue, Metric};

/// Bit of a point's flags: nothing was measured.
const NOT_RECORDED: u32 = 1;
/// The most parts that a histogram or a summary may have: each is a column.
const PARTS_MAX: usize = 200;

pub(crate) async fn post(
    State(door): State<Arc<Door>>,
    caller: Caller,
    address: Address,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    address.end()?;
    let kind = content_type(&headers).to_owned();
    let body = read_body(&door, &headers, body).await?;
    let wrong = |error: String| Problem::bad(format!("the metrics are not right: {error}"));
    // The answer of one that has nothing to say, in the form of the request.
    let (export, answer) = match kind.as_str() {
        "application/x-protobuf" => (Export::decode(body).map_err(|error| wrong(error.to_string()))?, ""),
        "application/json" => (body_object(&body)?, "{}"),
        other => {
            let detail = format!("the body is {other:?}: send application/x-protobuf or application/json");
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
    };
    let lines = lines(export).map_err(wrong)?;
    line::store(&door, &caller, &headers, lines).await?;
    let mut response = answer.into_response();
    let kind = HeaderValue::from_str(&kind).unwrap_or(HeaderValue::from_static("application/x-protobuf"));
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// The points of a request as lines; the error says what is wrong.
fn lines(export: Export) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    for of_resource in export.resource_metrics {
        let resource = of_resource.resource.unwrap_or_default().attributes;
        for metric in of_resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
            if metric.name.is_empty() {
                return Err("a metric has a name".to_owned());
            }
            let name = metric.name.clone();
            for (attributes, nanos, fields) in points(metric).map_err(|why| format!("{name:?}: {why}"))? {
                if nanos == 0 {
                    return Err(format!("{name:?}: a point has a time"));
                }
                if fields.is_empty() {
                    continue;
                }
                let micros = i64::try_from(nanos / 1_000).unwrap_or(i64::MAX);
                lines.push(Line::new(name.clone(), tags(&resource, &attributes)?, fields, micros));
            }
        }
    }
    Ok(lines)
}

/// Attributes, time and fields of a point; without fields where nothing was measured.
type Point = (Vec<KeyValue>, u64, Vec<(String, Field)>);

fn points(metric: Metric) -> Result<Vec<Point>, String> {
    let recorded = |flags: u32| flags & NOT_RECORDED == 0;
    let mut points: Vec<Point> = Vec::new();
    let kinds = [
        metric.gauge.is_some(),
        metric.sum.is_some(),
        metric.histogram.is_some(),
        metric.exponential_histogram.is_some(),
        metric.summary.is_some(),
    ];
    if kinds.iter().filter(|is_there| **is_there).count() != 1 {
        return Err("it is of none of the kinds that are known here, or of several".to_owned());
    }
    for point in metric.gauge.into_iter().chain(metric.sum).flat_map(|numbers| numbers.data_points) {
        // A column has one type, and what is counted today may be weighed tomorrow.
        let value = point.as_double.or(point.as_int.map(|int| int as f64));
        let value = value.filter(|_| recorded(point.flags));
        let fields = value.map(|value| ("value".to_owned(), Field::Float(value))).into_iter().collect();
        points.push((point.attributes, point.time_unix_nano, fields));
    }
    for point in metric.histogram.into_iter().flat_map(|histogram| histogram.data_points) {
        let mut fields = statistics(point.count, [("sum", point.sum), ("min", point.min), ("max", point.max)]);
        if !point.bucket_counts.is_empty() && point.bucket_counts.len() != point.explicit_bounds.len() + 1 {
            return Err("a histogram has one count more than it has bounds".to_owned());
        }
        let bounds = point.explicit_bounds.iter().map(f64::to_string).chain(["inf".to_owned()]);
        let mut count = 0_u64;
        for (bound, more) in bounds.zip(&point.bucket_counts) {
            count = count.saturating_add(*more);
            fields.push((format!("le_{bound}"), whole(count)));
        }
        if !recorded(point.flags) {
            fields.clear();
        }
        points.push((point.attributes, point.time_unix_nano, fields));
    }
    for point in metric.exponential_histogram.into_iter().flat_map(|histogram| histogram.data_points) {
        let mut fields = statistics(point.count, [("sum", point.sum), ("min", point.min), ("max", point.max)]);
        if !recorded(point.flags) {
            fields.clear();
        }
        points.push((point.attributes, point.time_unix_nano, fields));
    }
    for point in metric.summary.into_iter().flat_map(|summary| summary.data_points) {
        let mut fields = statistics(point.count, [("sum", Some(point.sum))]);
        let quantiles = point.quantile_values.iter();
        fields.extend(quantiles.map(|part| (format!("quantile_{}", part.quantile), Field::Float(part.value))));
        if !recorded(point.flags) {
            fields.clear();
        }
        points.push((point.attributes, point.time_unix_nano, fields));
    }
    for (_, _, fields) in &mut points {
        if fields.len() > PARTS_MAX {
            return Err(format!("a point has {} values: {PARTS_MAX} at most are columns", fields.len()));
        }
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        if fields.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
            return Err("a bound or a quantile stands twice".to_owned());
        }
    }
    Ok(points)
}

fn statistics<const N: usize>(count: u64, others: [(&str, Option<f64>); N]) -> Vec<(String, Field)> {
    let others = others.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Field::Float(value?))));
    std::iter::once(("count".to_owned(), whole(count))).chain(others).collect()
}

fn whole(count: u64) -> Field {
    Field::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

/// The attributes of a point and of its resource as tags; the point's own count where both have one.
fn tags(resource: &[KeyValue], point: &[KeyValue]) -> Result<Vec<(String, String)>, String> {
    let mut tags = BTreeMap::new();
    for KeyValue { key, value } in resource.iter().chain(point) {
        let text = value.as_ref().map(text).unwrap_or_default();
        // What is empty is as if it was not there: no series differs by it.
        if text.is_empty() {
            continue;
        }
        if key.is_empty() {
            return Err("an attribute has a name".to_owned());
        }
        tags.insert(tag_name(key), text);
    }
    Ok(tags.into_iter().collect())
}

/// The column of an attribute: of its name, where no column for values has that.
fn tag_name(key: &str) -> String {
    let is_taken = matches!(key, "series" | "time" | "value" | "count" | "sum" | "min" | "max");
    let prefix = if is_taken || key.starts_with("le_") || key.starts_with("quantile_") { "tag_" } else { "" };
    format!("{prefix}{key}")
}

fn text(value: &AnyValue) -> String {
    match value {
        AnyValue { string_value: Some(text), .. } => text.clone(),
        AnyValue { bool_value: Some(bool), .. } => bool.to_string(),
        AnyValue { int_value: Some(int), .. } => int.to_string(),
        AnyValue { double_value: Some(double), .. } => double.to_string(),
        AnyValue { bytes_value: Some(bytes), .. } => STANDARD.encode(bytes),
        AnyValue { array_value: None, kvlist_value: None, .. } => String::new(),
        nested => serde_json::to_string(nested).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::wire::*;
    use super::*;

    fn attribute(key: &str, text: &str) -> KeyValue {
        let value = AnyValue { string_value: Some(text.to_owned()), ..AnyValue::default() };
        KeyValue { key: key.to_owned(), value: Some(value) }
    }

    fn export(metric: Metric) -> Export {
        let resource = Some(Resource { attributes: vec![attribute("host", "a"), attribute("zone", "z")] });
        let scope_metrics = vec![ScopeMetrics { metrics: vec![metric] }];
        Export { resource_metrics: vec![ResourceMetrics { resource, scope_metrics }] }
    }

    #[test]
    fn points_become_lines_from_both_forms() {
        let point = Number {
            attributes: vec![attribute("zone", "y"), attribute("time", "t")],
            time_unix_nano: 1_767_322_800_000_001_000,
            as_int: Some(-7),
            ..Number::default()
        };
        let sum = Some(Numbers { data_points: vec![point] });
        let sent = export(Metric { name: "jobs".to_owned(), sum, ..Metric::default() });
        let json = r#"{"resourceMetrics": [{"resource": {"attributes": [
            {"key": "host", "value": {"stringValue": "a"}}, {"key": "zone", "value": {"stringValue": "z"}}]},
            "scopeMetrics": [{"scope": {"name": "s"}, "metrics": [{"name": "jobs", "unit": "1", "sum": {"isMonotonic": true, "dataPoints": [
            {"attributes": [{"key": "zone", "value": {"stringValue": "y"}}, {"key": "time", "value": {"stringValue": "t"}}],
             "startTimeUnixNano": "1", "timeUnixNano": "1767322800000001000", "asInt": "-7"}]}}]}]}]}"#;
        let packed = Export::decode(&sent.encode_to_vec()[..]).unwrap();
        let read: Export = serde_json::from_str(json).unwrap();
        for form in [packed, read] {
            let lines = lines(form).unwrap();
            let [line] = &lines[..] else { panic!("{lines:?}") };
            assert_eq!(line.measurement, "jobs");
            assert_eq!(line.series, "host=a,tag_time=t,zone=y");
            assert_eq!(line.fields, [("value".to_owned(), Field::Float(-7.0))]);
            assert_eq!(line.micros, 1_767_322_800_000_001);
        }
    }

    #[test]
    fn histograms_have_a_column_for_each_bound() {
        let point = HistogramPoint {
            time_unix_nano: 1_000,
            count: 6,
            sum: Some(3.5),
            bucket_counts: vec![1, 2, 3],
            explicit_bounds: vec![0.5, 10.0],
            ..HistogramPoint::default()
        };
        let of = |point: HistogramPoint| {
            let histogram = Some(Histogram { data_points: vec![point] });
            lines(export(Metric { name: "h".to_owned(), histogram, ..Metric::default() }))
        };
        let whole = |name: &str, count| (name.to_owned(), Field::Integer(count));
        let expected = [
            whole("count", 6),
            whole("le_0.5", 1),
            whole("le_10", 3),
            whole("le_inf", 6),
            ("sum".to_owned(), Field::Float(3.5)),
        ];
        assert_eq!(of(point.clone()).unwrap()[0].fields, expected);
        assert!(of(HistogramPoint { bucket_counts: vec![1], ..point.clone() }).is_err());
        assert!(of(HistogramPoint { explicit_bounds: vec![1.0, 1.0], ..point.clone() }).is_err());
        assert!(of(HistogramPoint { time_unix_nano: 0, ..point.clone() }).is_err());
        assert!(of(HistogramPoint { flags: NOT_RECORDED, ..point }).unwrap().is_empty());
        assert!(lines(export(Metric { name: "m".to_owned(), ..Metric::default() })).is_err());
    }
}
