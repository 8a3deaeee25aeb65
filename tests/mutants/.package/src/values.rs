//! Values that a function could wrongly return, by the type that it returns.

use syn::{GenericArgument, PathArguments, Type};

/// The expressions that replace a body of this type.
pub fn of(returned: &Type) -> Vec<String> {
    match returned {
        Type::Path(path) => path
            .path
            .segments
            .last()
            .map_or_else(Vec::new, |segment| named(&segment.ident.to_string(), &segment.arguments)),
        Type::Reference(reference) => match &*reference.elem {
            Type::Path(path) if path.path.is_ident("str") => words(&["\"\"", "\"xyzzy\""]),
            Type::Slice(_) if reference.mutability.is_none() => words(&["&[]"]),
            _ => Vec::new(),
        },
        Type::Tuple(tuple) if tuple.elems.is_empty() => words(&["()"]),
        Type::Tuple(_) => words(&["Default::default()"]),
        _ => Vec::new(),
    }
}

fn named(name: &str, arguments: &PathArguments) -> Vec<String> {
    match name {
        "bool" => words(&["true", "false"]),
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => words(&["0", "1"]),
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => words(&["0", "1", "-1"]),
        "String" => words(&["String::new()", "\"xyzzy\".into()"]),
        "Vec" => words(&["vec![]"]),
        "Option" => {
            let inner = first(arguments).map_or_else(Vec::new, of);
            let some = inner.iter().map(|value| format!("Some({value})"));
            std::iter::once("None".to_owned()).chain(some).collect()
        }
        "Result" => match first(arguments) {
            Some(inner) => of(inner).iter().map(|value| format!("Ok({value})")).collect(),
            None => words(&["Ok(Default::default())"]),
        },
        "ControlFlow" | "Self" => Vec::new(),
        _ => words(&["Default::default()"]),
    }
}

fn first(arguments: &PathArguments) -> Option<&Type> {
    match arguments {
        PathArguments::AngleBracketed(list) => list.args.iter().find_map(|argument| match argument {
            GenericArgument::Type(inner) => Some(inner),
            _ => None,
        }),
        _ => None,
    }
}

fn words(values: &[&str]) -> Vec<String> {
    values.iter().map(|&value| value.to_owned()).collect()
}
