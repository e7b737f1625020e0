//! Label selectors. Not here: what they select.

use super::super::node::{child, entry};
use super::metadata::{check_key, is_label_value, not_a_label_value};
use super::report::Report;
use isolator_policy::model::{Operator, Requirement, Selector};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::collections::BTreeSet;

/// A selector that stands at `field`.
pub(crate) fn selector(selector: LabelSelector, field: &str, report: &mut Report<'_>) -> Selector {
    let requirements = requirements(selector, field, str::to_owned, report);
    Selector::new(requirements.into_iter().map(|(_, requirement)| requirement))
}

/// The requirements of a selector that stands at `field`, those of `matchLabels` first, each with its own
/// field. What is checked of a key is what `form` makes of it.
pub(crate) fn requirements(
    selector: LabelSelector,
    field: &str,
    form: impl Fn(&str) -> String,
    report: &mut Report<'_>,
) -> Vec<(String, Requirement)> {
    let LabelSelector { match_labels, match_expressions } = selector;
    let mut requirements = Vec::new();
    let labels = child(field, "matchLabels");
    for (key, value) in match_labels.unwrap_or_default() {
        let field = child(&labels, &key);
        if let Err(wrong) = check_key(&form(&key)) {
            report.invalid(&field, format!("the key `{key}` {wrong}"));
        }
        if !is_label_value(&value) {
            report.invalid(&field, not_a_label_value(&value));
        }
        requirements.push((field, Requirement { key, operator: Operator::In(BTreeSet::from([value])) }));
    }
    let field = child(field, "matchExpressions");
    for (index, expression) in match_expressions.unwrap_or_default().into_iter().enumerate() {
        let field = entry(&field, index);
        if let Err(wrong) = check_key(&form(&expression.key)) {
            report.invalid(&child(&field, "key"), format!("the key `{}` {wrong}", expression.key));
        }
        let values = expression.values.unwrap_or_default();
        for (index, value) in values.iter().enumerate() {
            if !is_label_value(value) {
                report.invalid(&entry(&child(&field, "values"), index), not_a_label_value(value));
            }
        }
        let values: BTreeSet<String> = values.into_iter().collect();
        let operator = match expression.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => {
                let message = format!("the operator {} needs at least one value", expression.operator);
                report.invalid(&child(&field, "values"), message);
                continue;
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let message = format!("the operator {} takes no values; remove them", expression.operator);
                report.invalid(&child(&field, "values"), message);
                continue;
            }
            "In" => Operator::In(values),
            "NotIn" => Operator::NotIn(values),
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            other => {
                let message =
                    format!("`{other}` is not an operator; it is In, NotIn, Exists or DoesNotExist");
                report.invalid(&child(&field, "operator"), message);
                continue;
            }
        };
        requirements.push((field, Requirement { key: expression.key, operator }));
    }
    requirements
}
