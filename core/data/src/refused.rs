//! Why a command was refused, as values; the texts are Redis 7.0's, since clients compare them.
//!
//! A refused command changed nothing.

/// A refusal: the caller's fault unless the variant says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The key holds another type.
    WrongType,
    /// Options that do not exist, or not together.
    Syntax,
    /// Not a 64-bit integer, or the result would not be one.
    NotAnInteger,
    /// INCR or DECR past 64 bits.
    Overflow,
    /// Not a float.
    NotAFloat,
    /// INCRBYFLOAT would make NaN or infinity.
    NotFinite,
    /// An expire time that is zero, negative or beyond 64 bits; the command's name in lower case.
    InvalidExpire(&'static str),
    /// A cursor that is not a number.
    InvalidCursor,
    /// A string longer than 512 MB.
    StringTooLong,
    /// SETRANGE with a negative offset.
    OffsetOutOfRange,
    /// RENAME or COPY of a key that isn't there.
    NoSuchKey,
    /// COPY or MOVE onto itself.
    SameObject,
    /// A database number that does not exist.
    DbOutOfRange,
    /// Beyond 32 bits where a database number is wanted.
    NotAnInt,
    /// Too many or too few arguments; the command's name in lower case.
    Arity(String),
    /// The keys of one command stand in different shards.
    CrossShard { first: base::ShardId, second: base::ShardId },
    /// Any other text, whose first word is the error's code.
    Text(String),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::WrongType => f.write_str("WRONGTYPE Operation against a key holding the wrong kind of value"),
            Self::Syntax => f.write_str("ERR syntax error"),
            Self::NotAnInteger => f.write_str("ERR value is not an integer or out of range"),
            Self::Overflow => f.write_str("ERR increment or decrement would overflow"),
            Self::NotAFloat => f.write_str("ERR value is not a valid float"),
            Self::NotFinite => f.write_str("ERR increment would produce NaN or Infinity"),
            Self::InvalidExpire(command) => write!(f, "ERR invalid expire time in '{command}' command"),
            Self::InvalidCursor => f.write_str("ERR invalid cursor"),
            Self::StringTooLong => f.write_str("ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
            Self::OffsetOutOfRange => f.write_str("ERR offset is out of range"),
            Self::NoSuchKey => f.write_str("ERR no such key"),
            Self::SameObject => f.write_str("ERR source and destination objects are the same"),
            Self::DbOutOfRange => f.write_str("ERR DB index is out of range"),
            Self::NotAnInt => f.write_str("ERR value is out of range, value must between -2147483648 and 2147483647"),
            Self::Arity(command) => write!(f, "ERR wrong number of arguments for '{command}' command"),
            Self::CrossShard { first, second } => write!(
                f,
                "CROSSSHARD the keys of this command stand in shards {first} and {second}; nothing was changed; \
                 give them one {{hashtag}} or run with --shards 1"
            ),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Refused {}
