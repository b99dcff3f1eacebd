package sqlfunc

import (
	"context"
	"encoding/base64"
	"strings"

	"sockql/tables"
)

func base64Functions() []Function {
	return []Function{
		{
			Name: "to_base64", Args: []int{1}, Deterministic: true,
			Doc:  "to_base64(value) returns the base64 encoding (RFC 4648, section 4, padded) of the value's bytes; NULL for NULL.",
			Eval: base64Function(toBase64),
		},
		{
			Name: "from_base64", Args: []int{1}, Deterministic: true,
			Doc:  "from_base64(text) decodes base64 (RFC 4648, section 4). Line feeds and missing padding do not matter; what is no base64 gives the empty text, NULL gives NULL.",
			Eval: base64Function(fromBase64),
		},
		{
			Name: "conditional_to_base64", Args: []int{1}, Deterministic: true,
			Doc:  "conditional_to_base64(value) returns the value as text if all its bytes are printable ASCII, and its base64 encoding otherwise; NULL for NULL.",
			Eval: base64Function(conditionalToBase64),
		},
	}
}

func base64Function(convert func(string) string) func(context.Context, *Call, []tables.Value) (tables.Value, error) {
	return func(_ context.Context, _ *Call, args []tables.Value) (tables.Value, error) {
		if args[0].IsNull() {
			return tables.Null(), nil
		}
		return tables.String(convert(args[0].String())), nil
	}
}

func toBase64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// fromBase64 accepts what osquery's decoder (Boost's iterators) accepts, which
// is more than RFC 4648: bits that do not fill a byte are dropped whatever they
// are, and a = before the end counts as six zero bits.
func fromBase64(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", ""), "\n", "")
	s = strings.TrimRight(s, "=")
	if strings.IndexByte(s, '\r') >= 0 { // which Go's decoder would skip
		return ""
	}
	decoded, err := base64.RawStdEncoding.DecodeString(strings.ReplaceAll(s, "=", "A"))
	if err != nil {
		return ""
	}
	return string(decoded)
}

func conditionalToBase64(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return toBase64(s)
		}
	}
	return s
}
