//! The platform that an image is for, in one spelling.

/// The longest word of a platform.
const WORD_MAX: usize = 32;

/// `os/architecture`, or with the variant as a third part where it tells two apart, as the image specification of OCI
/// names them. None where no architecture is told; an operating system that is not told is Linux.
pub fn platform(os: Option<&str>, architecture: Option<&str>, variant: Option<&str>) -> Option<String> {
    let os = word(os.filter(|os| !os.is_empty()).unwrap_or("linux"))?;
    let (architecture, variant) = match (word(architecture?)?.as_str(), variant.and_then(word)) {
        ("x86_64" | "x86-64", variant) => ("amd64".to_owned(), variant),
        ("aarch64", variant) => ("arm64".to_owned(), variant),
        ("armhf", _) => ("arm".to_owned(), Some("v7".to_owned())),
        ("armel", _) => ("arm".to_owned(), Some("v6".to_owned())),
        (architecture, variant) => (architecture.to_owned(), variant),
    };
    let variant =
        match (architecture.as_str(), variant.as_deref().map(|variant| variant.trim_start_matches('v'))) {
            ("amd64", None | Some("1")) | ("arm64", None | Some("8")) => None,
            ("arm", None) => Some("v7".to_owned()),
            ("arm", Some(number)) => Some(format!("v{number}")),
            _ => variant,
        };
    let variant = variant.map(|variant| format!("/{variant}")).unwrap_or_default();
    Some(format!("{os}/{architecture}{variant}"))
}

/// A word of a platform; none where it is empty, too long or has characters that no platform's name has.
fn word(text: &str) -> Option<String> {
    let word = text.trim().to_ascii_lowercase();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    ((1..=WORD_MAX).contains(&word.len()) && word.chars().all(plain)).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_has_one_spelling() {
        for (os, architecture, variant, expected) in [
            (Some("linux"), Some("amd64"), None, Some("linux/amd64")),
            (None, Some("arm64"), None, Some("linux/arm64")),
            (Some("Linux"), Some("AArch64"), Some("v8"), Some("linux/arm64")),
            (Some("linux"), Some("x86_64"), Some("v1"), Some("linux/amd64")),
            (Some("linux"), Some("amd64"), Some("v3"), Some("linux/amd64/v3")),
            (Some("linux"), Some("arm"), None, Some("linux/arm/v7")),
            (Some("linux"), Some("arm"), Some("6"), Some("linux/arm/v6")),
            (Some("linux"), Some("armhf"), None, Some("linux/arm/v7")),
            (Some("windows"), Some("amd64"), Some(""), Some("windows/amd64")),
            (Some("linux"), None, None, None),
            (Some("linux"), Some(""), None, None),
            (Some("linux"), Some("a/b"), None, None),
            (Some(""), Some("amd64"), None, Some("linux/amd64")),
            (Some("a b"), Some("amd64"), None, None),
        ] {
            let told = platform(os, architecture, variant);
            assert_eq!(told.as_deref(), expected, "{os:?} {architecture:?} {variant:?}");
        }
    }
}
