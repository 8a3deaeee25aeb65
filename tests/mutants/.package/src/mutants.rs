//! The mutants of a file: a walk through its tree that plants a switch at each place that could be wrong.

use std::collections::BTreeSet;
use std::ops::Range;

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Attribute, BinOp, Block, Expr, ExprBinary, ExprMatch, ExprMethodCall, ExprPath, ExprUnary, Pat, ReturnType,
    Signature, Stmt, UnOp,
};

use crate::edits::Edits;
use crate::values;

/// A mistake that the switch of this number turns on.
pub struct Mutant {
    pub number: usize,
    pub line: usize,
    pub function: String,
    pub what: String,
}

/// The mutants of one file, and the edits that plant them.
pub struct Found {
    pub mutants: Vec<Mutant>,
    pub edits: Edits,
    /// The number of the first mutant of the next file.
    pub next: usize,
}

/// Finds the mutants of a file, numbered from `next` on. Numbers in `dropped` are given out, and nothing is planted there.
pub fn of(tree: &syn::File, text: &str, next: usize, dropped: &BTreeSet<usize>) -> Found {
    let mut walk = Walk {
        text,
        dropped,
        scope: Vec::new(),
        constant: false,
        found: Found { mutants: Vec::new(), edits: Edits::default(), next },
    };
    walk.visit_file(tree);
    walk.found
}

struct Walk<'a> {
    text: &'a str,
    dropped: &'a BTreeSet<usize>,
    /// The names of the modules, types and functions around the present place.
    scope: Vec<String>,
    /// True inside a constant, which cannot have a switch.
    constant: bool,
    found: Found,
}

/// The condition that a mutant is switched on, with its mark.
fn on(number: usize) -> String {
    format!("/*{number}*/crate::planted::is({number})")
}

fn range(span: Span) -> Range<usize> {
    span.byte_range()
}

fn shown(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Walk<'_> {
    fn source(&self, span: Span) -> String {
        shown(&self.text[range(span)])
    }

    /// Gives a mutant its number; `None` if it was dropped.
    fn number(&mut self, place: Span, what: String) -> Option<usize> {
        let number = self.found.next;
        self.found.next += 1;
        let kept = !self.constant && !self.dropped.contains(&number);
        kept.then(|| {
            self.found.mutants.push(Mutant {
                number,
                line: place.start().line,
                function: self.scope.join("::"),
                what,
            });
            number
        })
    }

    fn open(&mut self, place: Span, text: String) {
        self.found.edits.open(range(place).start, text);
    }

    fn close(&mut self, place: Span, text: String) {
        self.found.edits.close(range(place).end, text);
    }

    fn within(&mut self, name: String, walk: impl FnOnce(&mut Self)) {
        self.scope.push(name);
        walk(self);
        self.scope.pop();
    }

    fn in_constant(&mut self, walk: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.constant, true);
        walk(self);
        self.constant = before;
    }

    /// Replaces what a function returns.
    fn function(&mut self, signature: &Signature, block: &Block, walk: impl FnOnce(&mut Self)) {
        if signature.constness.is_some() {
            return; // a constant may call it
        }
        self.within(signature.ident.to_string(), |walk_on| {
            let returned = match &signature.output {
                ReturnType::Default => vec!["()".to_owned()],
                ReturnType::Type(_, returned) => values::of(returned),
            };
            let body = walk_on.source(block.span());
            let mut planted = String::new();
            for value in returned {
                if body == format!("{{ {value} }}") || body == "{}" || body == "{ }" {
                    continue;
                }
                let what = format!("return {value}");
                if let Some(number) = walk_on.number(signature.ident.span(), what) {
                    planted += &format!("\nif {} {{ return {value}; }}\n", on(number));
                }
            }
            let inside = range(block.brace_token.span.open()).end;
            walk_on.found.edits.open(inside, planted);
            walk(walk_on);
        });
    }

    /// A comparison or a calculation: both sides are evaluated first.
    fn calculation(&mut self, binary: &ExprBinary, others: &[&str]) {
        let operator = self.source(binary.op.span());
        let compared = matches!(
            binary.op,
            BinOp::Eq(_) | BinOp::Ne(_) | BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_)
        );
        let borrowed = if compared { "&" } else { "" };
        let numbers = self.instead(binary, &operator, others);
        let Some((first, _)) = numbers.first().copied() else {
            return visit::visit_expr_binary(self, binary);
        };
        self.open(binary.left.span(), format!("(/*{first}*/match ({borrowed}("));
        self.found.edits.replace(range(binary.op.span()), format!("), {borrowed}("));
        visit::visit_expr_binary(self, binary);
        let mut tail = ")) { (planted_l, planted_r) =>".to_owned();
        for (number, other) in numbers {
            tail += &format!("\nif {} {{ planted_l {other} planted_r }} else", on(number));
        }
        tail += &format!("\n{{ /*{first}*/ planted_l {operator} planted_r }} }})");
        self.close(binary.right.span(), tail);
    }

    /// The numbers of the mutants that replace an operator.
    fn instead<'o>(&mut self, binary: &ExprBinary, operator: &str, others: &[&'o str]) -> Vec<(usize, &'o str)> {
        let mut numbers = Vec::new();
        for &other in others {
            let what = format!("{other} for {operator} in: {}", self.source(binary.span()));
            if let Some(number) = self.number(binary.op.span(), what) {
                numbers.push((number, other));
            }
        }
        numbers
    }

    /// `a += b` and such.
    fn assignment(&mut self, binary: &ExprBinary, others: &[&str]) {
        let operator = self.source(binary.op.span());
        let numbers = self.instead(binary, &operator, others);
        let Some((first, _)) = numbers.first().copied() else {
            return visit::visit_expr_binary(self, binary);
        };
        // the place is written again as it stands; a place with a mutant of its own would be planted twice
        let place = self.text[range(binary.left.span())].to_owned();
        let left = range(binary.left.span());
        self.found.edits.replace(left.start..range(binary.op.span()).end, format!("(/*{first}*/match ("));
        self.visit_expr(&binary.right);
        let mut tail = ") { planted_r =>".to_owned();
        for (number, other) in numbers {
            tail += &format!("\nif {} {{ {place} {other} planted_r; }} else", on(number));
        }
        tail += &format!("\n{{ /*{first}*/ {place} {operator} planted_r; }} }})");
        self.close(binary.right.span(), tail);
    }

    /// `a && b` and `a || b`: the right side is evaluated only if it counts.
    fn logic(&mut self, binary: &ExprBinary, other: &str, goes_on: &str) {
        let operator = self.source(binary.op.span());
        let numbers = self.instead(binary, &operator, &[other]);
        let Some((number, _)) = numbers.first().copied() else {
            return visit::visit_expr_binary(self, binary);
        };
        self.open(binary.left.span(), format!("({{ /*{number}*/let planted_l: bool = "));
        self.found
            .edits
            .replace(range(binary.op.span()), format!("; if planted_l {goes_on} {} {{", on(number)));
        visit::visit_expr_binary(self, binary);
        self.close(binary.right.span(), "} else { planted_l } })".to_owned());
    }

    /// A condition that is neither a comparison nor a negation, which have mutants of their own.
    fn condition(&mut self, condition: &Expr) {
        if !matches!(
            condition,
            Expr::Call(_) | Expr::Field(_) | Expr::Macro(_) | Expr::MethodCall(_) | Expr::Path(_)
        ) {
            return self.visit_expr(condition);
        }
        let shown = self.source(condition.span());
        let held = self.number(condition.span(), format!("true for the condition: {shown}"));
        let failed = self.number(condition.span(), format!("false for the condition: {shown}"));
        let held = held.map_or_else(String::new, |number| format!("{} || ", on(number)));
        let failed = failed.map_or_else(String::new, |number| format!(" && !{}", on(number)));
        self.open(condition.span(), format!("(({held}("));
        self.visit_expr(condition);
        self.close(condition.span(), format!(")){failed})"));
    }

    /// The arms of a match: one that is left out, if a later arm takes everything, and a guard that always or never holds.
    fn arms(&mut self, whole: &ExprMatch) {
        let last = whole.arms.last();
        let takes_all = last.is_some_and(|arm| matches!(arm.pat, Pat::Wild(_)) && arm.guard.is_none());
        self.visit_expr(&whole.expr);
        let last_one = whole.arms.len().saturating_sub(1);
        for (position, arm) in whole.arms.iter().enumerate() {
            let pattern = self.source(arm.pat.span());
            let gone = (takes_all && position < last_one)
                .then(|| self.number(arm.pat.span(), format!("delete the arm: {pattern}")))
                .flatten()
                .map(|number| format!("!{}", on(number)));
            match &arm.guard {
                Some((_, guard)) => {
                    let shown = self.source(guard.span());
                    let held = self.number(guard.span(), format!("true for the guard: {shown}"));
                    let failed = (!takes_all || position == last_one)
                        .then(|| self.number(guard.span(), format!("false for the guard: {shown}")))
                        .flatten();
                    let held = held.map_or_else(String::new, |number| format!("{} || ", on(number)));
                    let failed = failed.map_or_else(String::new, |number| format!(" && !{}", on(number)));
                    let gone = gone.map_or_else(String::new, |gone| format!(" && {gone}"));
                    self.open(guard.span(), format!("({held}("));
                    self.visit_expr(guard);
                    self.close(guard.span(), format!(")){failed}{gone}"));
                }
                None => {
                    if let Some(gone) = gone {
                        self.close(arm.pat.span(), format!(" if {gone}"));
                    }
                }
            }
            self.visit_expr(&arm.body);
        }
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && matches!(&attribute.meta, syn::Meta::List(list) if list.tokens.to_string() == "test")
    })
}

/// True for the name of a constant, such as `LARGE_SHARE`.
fn is_constant(name: &str) -> bool {
    name.len() > 1 && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

fn has_let(expression: &Expr) -> bool {
    match expression {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            self.within(item.ident.to_string(), |walk| visit::visit_item_mod(walk, item));
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if is_test(&item.attrs) {
            return;
        }
        let mut name = self.source(item.self_ty.span());
        if let Some((_, path, _)) = &item.trait_ {
            name = format!("<{name} as {}>", self.source(path.span()));
        }
        self.within(name, |walk| visit::visit_item_impl(walk, item));
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_test(&item.attrs) {
            self.function(&item.sig, &item.block, |walk| walk.visit_block(&item.block));
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            self.function(&item.sig, &item.block, |walk| walk.visit_block(&item.block));
        }
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.in_constant(|walk| visit::visit_item_const(walk, item));
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.in_constant(|walk| visit::visit_impl_item_const(walk, item));
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.in_constant(|walk| visit::visit_item_static(walk, item));
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.in_constant(|walk| visit::visit_item_enum(walk, item));
    }

    fn visit_type(&mut self, _: &'ast syn::Type) {}

    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}

    fn visit_pat(&mut self, _: &'ast Pat) {}

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        let Stmt::Expr(expression, Some(semicolon)) = statement else {
            return visit::visit_stmt(self, statement);
        };
        let inner = match expression {
            Expr::Try(question) => &question.expr,
            other => other,
        };
        if matches!(inner, Expr::MethodCall(_) | Expr::Call(_) | Expr::Assign(_)) {
            let what = format!("delete: {}", self.source(statement.span()));
            if let Some(number) = self.number(statement.span(), what) {
                self.open(expression.span(), format!("if !{} {{ ", on(number)));
                self.visit_expr(expression);
                self.close(semicolon.span(), " }".to_owned());
                return;
            }
        }
        self.visit_expr(expression);
    }

    fn visit_expr_if(&mut self, expression: &'ast syn::ExprIf) {
        self.condition(&expression.cond);
        self.visit_block(&expression.then_branch);
        if let Some((_, other)) = &expression.else_branch {
            self.visit_expr(other);
        }
    }

    fn visit_expr_match(&mut self, expression: &'ast ExprMatch) {
        self.arms(expression);
    }

    fn visit_expr_unary(&mut self, expression: &'ast ExprUnary) {
        if matches!(expression.op, UnOp::Not(_)) {
            let what = format!("delete ! in: {}", self.source(expression.span()));
            if let Some(number) = self.number(expression.span(), what) {
                self.open(expression.span(), "(".to_owned());
                visit::visit_expr_unary(self, expression);
                self.close(expression.span(), format!(" != {})", on(number)));
                return;
            }
        }
        visit::visit_expr_unary(self, expression);
    }

    fn visit_expr_method_call(&mut self, expression: &'ast ExprMethodCall) {
        let name = expression.method.to_string();
        let other = match name.as_str() {
            "min" => "max",
            "max" => "min",
            _ => return visit::visit_expr_method_call(self, expression),
        };
        let [argument] = expression.args.iter().collect::<Vec<_>>()[..] else {
            return visit::visit_expr_method_call(self, expression);
        };
        let what = format!("{other} for {name} in: {}", self.source(expression.span()));
        let Some(number) = self.number(expression.method.span(), what) else {
            return visit::visit_expr_method_call(self, expression);
        };
        self.open(expression.receiver.span(), format!("(/*{number}*/match (("));
        self.visit_expr(&expression.receiver);
        let dot = range(expression.receiver.span()).end;
        let inside = range(argument.span());
        self.found.edits.replace(dot..inside.start, "), (".to_owned());
        self.visit_expr(argument);
        self.found.edits.replace(
            inside.end..range(expression.span()).end,
            format!(
                ")) {{ (planted_l, planted_r) =>\nif {} {{ planted_l.{other}(planted_r) }} else\n\
                 {{ /*{number}*/ planted_l.{name}(planted_r) }} }})",
                on(number)
            ),
        );
    }

    /// A limit: the use of a constant, one too high and one too low. Only those of whole numbers compile.
    fn visit_expr_path(&mut self, path: &'ast ExprPath) {
        let names: Vec<String> = path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        // the constants of other types, such as u64::MAX, are no limits
        let is_limit = match &names[..] {
            [name] => is_constant(name),
            [of, name] => of == "Self" && is_constant(name),
            _ => false,
        };
        if !is_limit {
            return;
        }
        let shown = self.source(path.span());
        let mut planted = String::new();
        for operator in ["+", "-"] {
            if let Some(number) = self.number(path.span(), format!("{shown} {operator} 1 for {shown}")) {
                planted += &format!("if {} {{ {shown} {operator} 1 }} else ", on(number));
            }
        }
        if !planted.is_empty() {
            self.open(path.span(), format!("({planted}{{ "));
            self.close(path.span(), " })".to_owned());
        }
    }

    fn visit_expr_binary(&mut self, binary: &'ast ExprBinary) {
        if has_let(&binary.left) || has_let(&binary.right) {
            return visit::visit_expr_binary(self, binary);
        }
        match binary.op {
            BinOp::And(_) => self.logic(binary, "||", "!="),
            BinOp::Or(_) => self.logic(binary, "&&", "=="),
            BinOp::Eq(_) => self.calculation(binary, &["!="]),
            BinOp::Ne(_) => self.calculation(binary, &["=="]),
            BinOp::Lt(_) => self.calculation(binary, &["==", ">", "<="]),
            BinOp::Gt(_) => self.calculation(binary, &["==", "<", ">="]),
            BinOp::Le(_) => self.calculation(binary, &[">", "<"]),
            BinOp::Ge(_) => self.calculation(binary, &["<", ">"]),
            BinOp::Add(_) => self.calculation(binary, &["-", "*"]),
            BinOp::Sub(_) => self.calculation(binary, &["+", "/"]),
            BinOp::Mul(_) => self.calculation(binary, &["+", "/"]),
            BinOp::Div(_) => self.calculation(binary, &["%", "*"]),
            BinOp::Rem(_) => self.calculation(binary, &["/", "+"]),
            BinOp::BitAnd(_) => self.calculation(binary, &["|"]),
            BinOp::BitOr(_) => self.calculation(binary, &["&"]),
            BinOp::Shl(_) => self.calculation(binary, &[">>"]),
            BinOp::Shr(_) => self.calculation(binary, &["<<"]),
            BinOp::AddAssign(_) => self.assignment(binary, &["-=", "*="]),
            BinOp::SubAssign(_) => self.assignment(binary, &["+="]),
            BinOp::MulAssign(_) => self.assignment(binary, &["+="]),
            BinOp::DivAssign(_) => self.assignment(binary, &["%="]),
            BinOp::BitOrAssign(_) => self.assignment(binary, &["&="]),
            BinOp::BitAndAssign(_) => self.assignment(binary, &["|="]),
            _ => visit::visit_expr_binary(self, binary),
        }
    }
}
