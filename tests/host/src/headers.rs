//! Header fields as the proxy holds them.

/// Header fields in order, names in lower case, values as bytes. Pseudo-headers (`:path`) are among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    fields: Vec<(String, Vec<u8>)>,
}

impl Headers {
    /// Fields from pairs.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<[u8]>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut headers = Self::default();
        for (name, value) in pairs {
            headers
                .fields
                .push((name.as_ref().to_ascii_lowercase(), value.as_ref().to_vec()));
        }
        headers
    }

    /// The first value of `name` as text; bytes that aren't UTF-8 are replaced.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        self.bytes(name)
            .map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// The first value of `name`.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.fields
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
    }

    /// Every value of `name`, as text.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<String> {
        let same = |known: &&(String, Vec<u8>)| known.0.eq_ignore_ascii_case(name);
        self.fields
            .iter()
            .filter(same)
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    /// Puts one value in the place of all that `name` has.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let name = name.to_ascii_lowercase();
        let value = value.as_ref().to_vec();
        let Some(at) = self.fields.iter().position(|(known, _)| *known == name) else {
            return self.fields.push((name, value));
        };
        let mut seen = 0_usize;
        self.fields.retain(|(known, _)| {
            seen += usize::from(*known == name);
            *known != name || seen == 1
        });
        if let Some(field) = self.fields.get_mut(at) {
            field.1 = value;
        }
    }

    /// Adds a value. A header that may be there only once gets it appended after a comma, as in Envoy.
    pub fn add(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let name = name.to_ascii_lowercase();
        let single =
            name.starts_with(':') || matches!(name.as_str(), "content-length" | "content-type" | "host");
        match self.fields.iter_mut().find(|(known, _)| single && *known == name) {
            Some((_, present)) => {
                present.push(b',');
                present.extend_from_slice(value.as_ref());
            }
            None => self.fields.push((name, value.as_ref().to_vec())),
        }
    }

    /// Removes every value of `name`.
    pub fn remove(&mut self, name: &str) {
        self.fields.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// `:status` as a number.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.get(":status")?.parse().ok()
    }

    pub(crate) fn set_status(&mut self, status: u16) {
        self.remove(":status");
        self.fields
            .insert(0, (":status".to_owned(), status.to_string().into_bytes()));
    }

    pub(crate) fn content_length(&self) -> Option<usize> {
        self.get("content-length")?.parse().ok()
    }
}
