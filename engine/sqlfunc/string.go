package sqlfunc

import (
	"cmp"
	"context"
	"encoding/binary"
	"math"
	"net/netip"
	"strings"

	"sockql/tables"
)

func stringFunctions() []Function {
	return []Function{
		{
			Name: "split", Args: []int{3}, Deterministic: true, Eval: split,
			Doc: "split(text, characters, index) cuts text at each of the characters, drops empty pieces, trims the others and returns the piece at index, counted from 0. It returns NULL beyond the last piece, for a negative index and if an argument is NULL; no characters at all are an error.",
		},
		{
			Name: "concat", Deterministic: true, Eval: concat,
			Doc: "concat(a, b, …) joins its arguments as text and leaves NULLs out. Without an argument it returns NULL.",
		},
		{
			Name: "concat_ws", Deterministic: true, Eval: concatWS,
			Doc: "concat_ws(separator, a, b, …) joins its arguments as text with the separator after each but the last, and leaves NULLs out; a NULL at the end therefore leaves a separator at the end. A NULL separator counts as empty. With the separator alone it returns NULL.",
		},
		{
			Name: "inet_aton", Args: []int{1}, Deterministic: true, Eval: inetAton,
			Doc: "inet_aton(address) returns the number of an IPv4 address in dotted decimal, its first octet the most significant, and NULL for anything else.",
		},
	}
}

const errSplitInput = osqueryError("Invalid input to split function")

func split(_ context.Context, _ *Call, args []tables.Value) (tables.Value, error) {
	if anyNull(args) {
		return tables.Null(), nil
	}
	characters := text(args[1])
	if characters == "" {
		return tables.Null(), errSplitInput
	}
	index := int64(integer32(args[2]))
	// Bytes, not runes: the characters are a set of chars in C++.
	rest, start := text(args[0]), 0
	for end := 0; end <= len(rest); end++ {
		if end < len(rest) && strings.IndexByte(characters, rest[end]) < 0 {
			continue
		}
		if end > start {
			if index == 0 {
				return tables.String(strings.Trim(rest[start:end], space)), nil
			}
			index--
		}
		start = end + 1
	}
	return tables.Null(), nil
}

func concat(_ context.Context, c *Call, args []tables.Value) (tables.Value, error) {
	return join(c, "", args)
}

func concatWS(_ context.Context, c *Call, args []tables.Value) (tables.Value, error) {
	if len(args) == 0 {
		return tables.Null(), osqueryError("Missing separator to concat_ws")
	}
	return join(c, text(args[0]), args[1:])
}

func join(c *Call, separator string, parts []tables.Value) (tables.Value, error) {
	if len(parts) == 0 {
		return tables.Null(), nil
	}
	limit := cmp.Or(c.MaxBytes, math.MaxInt32)
	var b strings.Builder
	for i, v := range parts {
		if v.IsNull() {
			continue
		}
		s, after := text(v), separator
		if i+1 == len(parts) {
			after = ""
		}
		// Before it is written: a thousand times a long separator would take
		// more memory than there is.
		if b.Len()+len(s)+len(after) > limit {
			return tables.Null(), osqueryError("Too much data for concat_ws")
		}
		b.WriteString(s)
		b.WriteString(after)
	}
	return tables.String(b.String()), nil
}

func inetAton(_ context.Context, _ *Call, args []tables.Value) (tables.Value, error) {
	addr, err := netip.ParseAddr(text(args[0]))
	if err != nil || !addr.Is4() {
		return tables.Null(), nil
	}
	b := addr.As4()
	return tables.Int(binary.BigEndian.Uint32(b[:])), nil
}
