//! Judging an expression.
//!
//! As in CEL `&&` and `||` need only one side to decide: a fault on the other doesn't matter. What takes long is paid for
//! in steps: comparing and searching texts by their length, lists by their items.

use core::fmt;

use serde_json::Value;

use super::Facts;
use super::expr::{Binary, Each, Expr, Order, Reckon, TextTest};

/// Steps of one expression: some milliseconds in wasm.
const MAX_STEPS: usize = 1 << 18;

/// Why it can't be said whether an expression holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A field or item isn't there.
    Missing,
    /// A value is of a type that this can't be done with.
    Type,
    /// A number is divided by zero, or isn't one any more.
    Number,
    /// It takes too many steps.
    Steps,
}

impl Fault {
    /// Its name in records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Type => "type",
            Self::Number => "number",
            Self::Steps => "steps",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "a field or item isn't there",
            Self::Type => "a value is of another type",
            Self::Number => "a number is divided by zero or too large",
            Self::Steps => "it takes too many steps",
        })
    }
}

/// A value while it is judged.
#[derive(Clone, Debug)]
enum Val<'v> {
    Bool(bool),
    Number(f64),
    Text(&'v str),
    Owned(String),
    Json(&'v Value),
    List(Vec<Val<'v>>),
    Null,
}

/// Whether it holds.
pub(super) fn holds<'v>(expr: &'v Expr, facts: Facts<'v>) -> Result<bool, Fault> {
    let mut eval = Eval {
        facts,
        steps: MAX_STEPS,
        bound: Vec::new(),
    };
    eval.truth(expr)
}

struct Eval<'v> {
    facts: Facts<'v>,
    steps: usize,
    bound: Vec<(&'v str, Val<'v>)>,
}

impl<'v> Val<'v> {
    fn of(value: &'v Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(truth) => Self::Bool(*truth),
            Value::Number(number) => number.as_f64().map_or(Self::Null, Self::Number),
            Value::String(text) => Self::Text(text),
            Value::Array(_) | Value::Object(_) => Self::Json(value),
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Owned(text) => Some(text),
            Self::Bool(_) | Self::Number(_) | Self::Json(_) | Self::List(_) | Self::Null => None,
        }
    }

    fn items(&self) -> Option<Vec<Val<'v>>> {
        match self {
            Self::Json(Value::Array(items)) => Some(items.iter().map(Val::of).collect()),
            Self::List(items) => Some(items.clone()),
            Self::Json(_) | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::Owned(_) | Self::Null => {
                None
            }
        }
    }

    fn len(&self) -> Option<usize> {
        match self {
            Self::Json(Value::Array(items)) => Some(items.len()),
            Self::Json(Value::Object(members)) => Some(members.len()),
            Self::List(items) => Some(items.len()),
            Self::Text(text) => Some(text.chars().count()),
            Self::Owned(text) => Some(text.chars().count()),
            Self::Json(_) | Self::Bool(_) | Self::Number(_) | Self::Null => None,
        }
    }
}

impl<'v> Eval<'v> {
    fn pay(&mut self, steps: usize) -> Result<(), Fault> {
        self.steps = self
            .steps
            .checked_sub(steps.saturating_add(1))
            .ok_or(Fault::Steps)?;
        Ok(())
    }

    fn truth(&mut self, expr: &'v Expr) -> Result<bool, Fault> {
        match self.value(expr)? {
            Val::Bool(truth) => Ok(truth),
            Val::Number(_) | Val::Text(_) | Val::Owned(_) | Val::Json(_) | Val::List(_) | Val::Null => {
                Err(Fault::Type)
            }
        }
    }

    fn number(&mut self, expr: &'v Expr) -> Result<f64, Fault> {
        match self.value(expr)? {
            Val::Number(number) => Ok(number),
            Val::Bool(_) | Val::Text(_) | Val::Owned(_) | Val::Json(_) | Val::List(_) | Val::Null => {
                Err(Fault::Type)
            }
        }
    }

    fn value(&mut self, expr: &'v Expr) -> Result<Val<'v>, Fault> {
        self.pay(0)?;
        match expr {
            Expr::Null => Ok(Val::Null),
            Expr::Bool(truth) => Ok(Val::Bool(*truth)),
            Expr::Number(number) => Ok(Val::Number(*number)),
            Expr::Text(text) => Ok(Val::Text(text)),
            Expr::List(items) => {
                let items: Result<Vec<_>, _> = items.iter().map(|item| self.value(item)).collect();
                items.map(Val::List)
            }
            Expr::Variable(name) => self.variable(name),
            Expr::Field(of, name) => self.field(of, name)?.ok_or(Fault::Missing),
            Expr::Has(of, name) => Ok(Val::Bool(self.field(of, name)?.is_some())),
            Expr::Index(of, index) => self.index(of, index),
            Expr::Size(of) => self.size(of),
            Expr::Not(inner) => Ok(Val::Bool(!self.truth(inner)?)),
            Expr::Minus(inner) => Ok(Val::Number(-self.number(inner)?)),
            Expr::Choice(condition, yes, no) => {
                let chosen = if self.truth(condition)? { yes } else { no };
                self.value(chosen)
            }
            Expr::Binary(operator, left, right) => self.binary(*operator, left, right),
            Expr::Test(test, text, part) => self.test(*test, text, part),
            Expr::Each(each, list, name, condition) => {
                let items = self.value(list)?.items().ok_or(Fault::Type)?;
                self.each(*each, items, name, condition)
            }
        }
    }

    fn variable(&self, name: &str) -> Result<Val<'v>, Fault> {
        match name {
            "answer" => Ok(Val::of(self.facts.answer)),
            "request" => Ok(Val::of(self.facts.request)),
            _ => {
                let mut bound = self.bound.iter().rev();
                bound
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| value.clone())
                    .ok_or(Fault::Missing)
            }
        }
    }

    /// None when the object lacks the field; a fault when it is no object.
    fn field(&mut self, of: &'v Expr, name: &str) -> Result<Option<Val<'v>>, Fault> {
        let Val::Json(Value::Object(members)) = self.value(of)? else {
            return Err(Fault::Type);
        };
        Ok(members.get(name).map(Val::of))
    }

    fn index(&mut self, of: &'v Expr, index: &'v Expr) -> Result<Val<'v>, Fault> {
        let (of, index) = (self.value(of)?, self.value(index)?);
        match (&of, &index) {
            (Val::Json(Value::Object(members)), _) => {
                let name = index.text().ok_or(Fault::Type)?;
                members.get(name).map(Val::of).ok_or(Fault::Missing)
            }
            (_, Val::Number(number)) => {
                let count = of.items().ok_or(Fault::Type)?;
                self.pay(count.len())?;
                let mut numbered = (0_u32..).zip(count);
                let found = numbered.find(|(n, _)| (f64::from(*n) - number).abs() < f64::EPSILON);
                found.map(|(_, item)| item).ok_or(Fault::Missing)
            }
            (_, _) => Err(Fault::Type),
        }
    }

    fn size(&mut self, of: &'v Expr) -> Result<Val<'v>, Fault> {
        let value = self.value(of)?;
        self.pay(value.text().map_or(0, |text| text.len() / 64))?;
        let len = value.len().ok_or(Fault::Type)?;
        Ok(Val::Number(u32::try_from(len).map_or(f64::MAX, f64::from)))
    }

    fn test(&mut self, test: TextTest, text: &'v Expr, part: &'v Expr) -> Result<Val<'v>, Fault> {
        let (text, part) = (self.value(text)?, self.value(part)?);
        let (text, part) = (text.text().ok_or(Fault::Type)?, part.text().ok_or(Fault::Type)?);
        self.pay((text.len().saturating_add(part.len())) / 64)?;
        Ok(Val::Bool(match test {
            TextTest::StartsWith => text.starts_with(part),
            TextTest::EndsWith => text.ends_with(part),
            TextTest::Contains => text.contains(part),
        }))
    }

    fn each(
        &mut self,
        each: Each,
        items: Vec<Val<'v>>,
        name: &'v str,
        condition: &'v Expr,
    ) -> Result<Val<'v>, Fault> {
        let decides = each == Each::Exists;
        let mut fault = None;
        self.pay(items.len())?;
        for item in items {
            self.bound.push((name, item));
            let truth = self.truth(condition);
            self.bound.pop();
            match truth {
                Ok(truth) if truth == decides => return Ok(Val::Bool(decides)),
                Ok(_) => {}
                Err(Fault::Steps) => return Err(Fault::Steps),
                Err(other) => fault = Some(other),
            }
        }
        fault.map_or(Ok(Val::Bool(!decides)), Err)
    }

    fn binary(&mut self, operator: Binary, left: &'v Expr, right: &'v Expr) -> Result<Val<'v>, Fault> {
        match operator {
            Binary::Or => self.either(left, right, true),
            Binary::And => self.either(left, right, false),
            Binary::Equal => self.equal(left, right).map(Val::Bool),
            Binary::Unequal => self.equal(left, right).map(|equal| Val::Bool(!equal)),
            Binary::Order(order) => self.order(order, left, right),
            Binary::In => self.within(left, right),
            Binary::Add => self.sum(left, right),
            Binary::Reckon(reckon) => self.arithmetic(reckon, left, right),
        }
    }

    fn either(&mut self, left: &'v Expr, right: &'v Expr, decides: bool) -> Result<Val<'v>, Fault> {
        let first = self.truth(left);
        if first == Ok(decides) || first == Err(Fault::Steps) {
            return first.map(Val::Bool);
        }
        match (first, self.truth(right)?) {
            (_, second) if second == decides => Ok(Val::Bool(decides)),
            (first, _) => first.map(Val::Bool),
        }
    }

    fn equal(&mut self, left: &'v Expr, right: &'v Expr) -> Result<bool, Fault> {
        let (left, right) = (self.value(left)?, self.value(right)?);
        self.same(&left, &right)
    }

    fn same(&mut self, left: &Val<'v>, right: &Val<'v>) -> Result<bool, Fault> {
        self.pay(left.text().map_or(0, |text| text.len() / 64))?;
        if let (Some(left), Some(right)) = (left.text(), right.text()) {
            return Ok(left == right);
        }
        if let (Val::Json(Value::Object(left)), Val::Json(Value::Object(right))) = (left, right) {
            // Whatever is inside was read once; comparing it is no more.
            self.pay(weight(left.values()))?;
            return Ok(left == right);
        }
        match (left, right) {
            (Val::Null, Val::Null) => Ok(true),
            (Val::Bool(left), Val::Bool(right)) => Ok(left == right),
            (Val::Number(left), Val::Number(right)) => Ok(left.total_cmp(right).is_eq() || left == right),
            (_, _) => self.same_items(left, right),
        }
    }

    fn same_items(&mut self, left: &Val<'v>, right: &Val<'v>) -> Result<bool, Fault> {
        let (Some(left), Some(right)) = (left.items(), right.items()) else {
            return Ok(false);
        };
        self.pay(left.len().saturating_add(right.len()))?;
        for (left, right) in left.iter().zip(&right) {
            if !self.same(left, right)? {
                return Ok(false);
            }
        }
        Ok(left.len() == right.len())
    }

    fn order(&mut self, operator: Order, left: &'v Expr, right: &'v Expr) -> Result<Val<'v>, Fault> {
        let (left, right) = (self.value(left)?, self.value(right)?);
        let order = match (&left, &right) {
            (Val::Number(left), Val::Number(right)) => left.partial_cmp(right),
            (_, _) => left.text().zip(right.text()).map(|(left, right)| left.cmp(right)),
        };
        let order = order.ok_or(Fault::Type)?;
        Ok(Val::Bool(match operator {
            Order::Less => order.is_lt(),
            Order::LessOrEqual => order.is_le(),
            Order::Greater => order.is_gt(),
            Order::GreaterOrEqual => order.is_ge(),
        }))
    }

    fn within(&mut self, item: &'v Expr, list: &'v Expr) -> Result<Val<'v>, Fault> {
        let (item, list) = (self.value(item)?, self.value(list)?);
        if let Val::Json(Value::Object(members)) = list {
            let name = item.text().ok_or(Fault::Type)?;
            return Ok(Val::Bool(members.contains_key(name)));
        }
        let items = list.items().ok_or(Fault::Type)?;
        self.pay(items.len())?;
        for known in &items {
            if self.same(&item, known)? {
                return Ok(Val::Bool(true));
            }
        }
        Ok(Val::Bool(false))
    }

    fn sum(&mut self, left: &'v Expr, right: &'v Expr) -> Result<Val<'v>, Fault> {
        let (left, right) = (self.value(left)?, self.value(right)?);
        if let (Val::Number(left), Val::Number(right)) = (&left, &right) {
            return finite(left + right);
        }
        let (left, right) = left.text().zip(right.text()).ok_or(Fault::Type)?;
        self.pay(left.len().saturating_add(right.len()))?;
        Ok(Val::Owned([left, right].concat()))
    }

    fn arithmetic(&mut self, operator: Reckon, left: &'v Expr, right: &'v Expr) -> Result<Val<'v>, Fault> {
        let (left, right) = (self.number(left)?, self.number(right)?);
        finite(match operator {
            Reckon::Subtract => left - right,
            Reckon::Multiply => left * right,
            Reckon::Divide => left / right,
            Reckon::Remainder => left % right,
        })
    }
}

/// How many values and bytes of text, about, are among these and below.
fn weight<'v>(values: impl Iterator<Item = &'v Value>) -> usize {
    values.fold(0, |total, value| {
        total.saturating_add(match value {
            Value::String(text) => 1 + text.len() / 64,
            Value::Array(items) => weight(items.iter()).saturating_add(1),
            Value::Object(members) => weight(members.values()).saturating_add(1),
            Value::Null | Value::Bool(_) | Value::Number(_) => 1,
        })
    })
}

fn finite<'v>(number: f64) -> Result<Val<'v>, Fault> {
    number
        .is_finite()
        .then_some(Val::Number(number))
        .ok_or(Fault::Number)
}
