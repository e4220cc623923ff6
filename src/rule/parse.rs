//! From words to an expression. Precedence as in CEL, loosest first: `?:`, `||`, `&&`, comparison and `in`, sums,
//! products, `!` and `-`, fields and indices.

use super::VARIABLES;
use super::error::RuleError;
use super::expr::{Binary, Each, Expr, Order, Reckon, TextTest};
use super::lexer::{Kind, Token, tokens};

/// Expressions inside one another: also bounds the stack here and where they are judged.
const MAX_DEPTH: usize = 32;
/// Operators by how tightly they bind.
const LEVELS: [&[(&str, Binary)]; 5] = [
    &[("||", Binary::Or)],
    &[("&&", Binary::And)],
    &[
        ("==", Binary::Equal),
        ("!=", Binary::Unequal),
        ("<=", Binary::Order(Order::LessOrEqual)),
        (">=", Binary::Order(Order::GreaterOrEqual)),
        ("<", Binary::Order(Order::Less)),
        (">", Binary::Order(Order::Greater)),
        ("in", Binary::In),
    ],
    &[("+", Binary::Add), ("-", Binary::Reckon(Reckon::Subtract))],
    &[
        ("*", Binary::Reckon(Reckon::Multiply)),
        ("/", Binary::Reckon(Reckon::Divide)),
        ("%", Binary::Reckon(Reckon::Remainder)),
    ],
];
/// What may follow a dot with parentheses.
const METHODS: &str = "startsWith, endsWith, contains, all, exists, size";
/// What may begin a value.
const VALUES: &str =
    "answer, request, has(), size(), a number, text in quotes, true, false, null, a list, ( or !";

/// Reads a whole expression.
pub(super) fn expression(source: &str) -> Result<Expr, RuleError> {
    let mut parser = Parser {
        tokens: tokens(source)?,
        next: 0,
        depth: 0,
        variables: VARIABLES.map(str::to_owned).to_vec(),
    };
    let expr = parser.choice()?;
    match parser.peek() {
        Kind::End => Ok(expr),
        _ => Err(parser.unexpected("an operator, or the end")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
    variables: Vec<String>,
}

impl Parser {
    fn peek(&self) -> &Kind {
        self.tokens.get(self.next).map_or(&Kind::End, |token| &token.kind)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(0, |token| token.at)
    }

    fn unexpected(&self, allowed: &str) -> RuleError {
        let wrong = match self.peek() {
            Kind::End => "it ends here".to_owned(),
            Kind::Number(number) => format!("{number} isn't expected"),
            Kind::Text(_) => "text isn't expected".to_owned(),
            Kind::Name(name) => format!("{name:?} isn't expected"),
            Kind::Mark(mark) => format!("{mark:?} isn't expected"),
        };
        RuleError::new(self.at(), wrong, allowed)
    }

    fn eat(&mut self, mark: &str) -> bool {
        let comes = match self.peek() {
            Kind::Mark(next) => *next == mark,
            Kind::Name(next) => next == mark,
            Kind::Number(_) | Kind::Text(_) | Kind::End => false,
        };
        self.next = self.next.saturating_add(usize::from(comes));
        comes
    }

    fn expect(&mut self, mark: &str) -> Result<(), RuleError> {
        if self.eat(mark) {
            Ok(())
        } else {
            Err(self.unexpected(mark))
        }
    }

    fn name(&mut self, allowed: &str) -> Result<String, RuleError> {
        match self.peek().clone() {
            Kind::Name(name) => {
                self.next = self.next.saturating_add(1);
                Ok(name)
            }
            Kind::Number(_) | Kind::Text(_) | Kind::Mark(_) | Kind::End => Err(self.unexpected(allowed)),
        }
    }

    fn choice(&mut self) -> Result<Expr, RuleError> {
        self.deeper()?;
        let condition = self.binary(0)?;
        let expr = if self.eat("?") {
            let yes = self.choice()?;
            self.expect(":")?;
            Expr::Choice(Box::new(condition), Box::new(yes), Box::new(self.choice()?))
        } else {
            condition
        };
        self.depth = self.depth.saturating_sub(1);
        Ok(expr)
    }

    fn deeper(&mut self) -> Result<(), RuleError> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_DEPTH {
            return Err(RuleError::new(self.at(), "it nests too deep", "32 levels"));
        }
        Ok(())
    }

    /// A chain of operators leans to the left, and counts as deep as it is long.
    fn binary(&mut self, level: usize) -> Result<Expr, RuleError> {
        let Some(operators) = LEVELS.get(level) else {
            return self.unary();
        };
        let depth = self.depth;
        let mut left = self.binary(level.saturating_add(1))?;
        while let Some((_, operator)) = operators.iter().find(|(mark, _)| self.eat(mark)) {
            self.deeper()?;
            let right = self.binary(level.saturating_add(1))?;
            left = Expr::Binary(*operator, Box::new(left), Box::new(right));
        }
        self.depth = depth;
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr, RuleError> {
        let make = if self.eat("!") {
            Expr::Not
        } else if self.eat("-") {
            Expr::Minus
        } else {
            return self.postfix();
        };
        self.deeper()?;
        let inner = self.unary()?;
        self.depth = self.depth.saturating_sub(1);
        Ok(make(Box::new(inner)))
    }

    fn postfix(&mut self) -> Result<Expr, RuleError> {
        let depth = self.depth;
        let mut expr = self.primary()?;
        loop {
            if self.eat("[") {
                self.deeper()?;
                let index = self.choice()?;
                self.expect("]")?;
                expr = Expr::Index(Box::new(expr), Box::new(index));
            } else if self.eat(".") {
                self.deeper()?;
                expr = self.member(expr)?;
            } else {
                self.depth = depth;
                return Ok(expr);
            }
        }
    }

    fn member(&mut self, of: Expr) -> Result<Expr, RuleError> {
        let at = self.at();
        let name = self.name("a field's name")?;
        if !self.eat("(") {
            return Ok(Expr::Field(Box::new(of), name));
        }
        let of = Box::new(of);
        let expr = match name.as_str() {
            "startsWith" => Expr::Test(TextTest::StartsWith, of, Box::new(self.choice()?)),
            "endsWith" => Expr::Test(TextTest::EndsWith, of, Box::new(self.choice()?)),
            "contains" => Expr::Test(TextTest::Contains, of, Box::new(self.choice()?)),
            "all" => self.each(Each::All, of)?,
            "exists" => self.each(Each::Exists, of)?,
            "size" => Expr::Size(of),
            _ => return Err(RuleError::new(at, format!("there is no {name}()"), METHODS)),
        };
        self.expect(")")?;
        Ok(expr)
    }

    fn each(&mut self, each: Each, list: Box<Expr>) -> Result<Expr, RuleError> {
        let at = self.at();
        let name = self.name("a name for each item")?;
        if self.variables.contains(&name) {
            let wrong = format!("{name:?} is taken");
            return Err(RuleError::new(at, wrong, "a name of its own"));
        }
        self.expect(",")?;
        self.variables.push(name.clone());
        let condition = self.choice()?;
        self.variables.pop();
        Ok(Expr::Each(each, list, name, Box::new(condition)))
    }

    fn primary(&mut self) -> Result<Expr, RuleError> {
        let at = self.at();
        match self.peek().clone() {
            Kind::Number(number) => self.taken(Expr::Number(number)),
            Kind::Text(text) => self.taken(Expr::Text(text)),
            Kind::Mark("(") => {
                self.next = self.next.saturating_add(1);
                let inner = self.choice()?;
                self.expect(")")?;
                Ok(inner)
            }
            Kind::Mark("[") => {
                self.next = self.next.saturating_add(1);
                self.list()
            }
            Kind::Name(name) => {
                self.next = self.next.saturating_add(1);
                self.word(&name, at)
            }
            Kind::Mark(_) | Kind::End => Err(self.unexpected(VALUES)),
        }
    }

    fn taken(&mut self, expr: Expr) -> Result<Expr, RuleError> {
        self.next = self.next.saturating_add(1);
        Ok(expr)
    }

    fn list(&mut self) -> Result<Expr, RuleError> {
        let mut items = Vec::new();
        while !self.eat("]") {
            if !items.is_empty() {
                self.expect(",")?;
            }
            items.push(self.choice()?);
        }
        Ok(Expr::List(items))
    }

    fn word(&mut self, name: &str, at: usize) -> Result<Expr, RuleError> {
        match name {
            "true" => return Ok(Expr::Bool(true)),
            "false" => return Ok(Expr::Bool(false)),
            "null" => return Ok(Expr::Null),
            "has" | "size" => {}
            _ if self.variables.iter().any(|known| known == name) => {
                return Ok(Expr::Variable(name.to_owned()));
            }
            _ => {
                let wrong = format!("{name:?} is unknown");
                return Err(RuleError::new(at, wrong, self.variables.join(", ")));
            }
        }
        self.expect("(")?;
        let at = self.at();
        let inner = self.choice()?;
        self.expect(")")?;
        match (name, inner) {
            ("size", inner) => Ok(Expr::Size(Box::new(inner))),
            (_, Expr::Field(of, field)) => Ok(Expr::Has(of, field)),
            (_, _) => Err(RuleError::new(at, "this is no field", "has(answer.field)")),
        }
    }
}
