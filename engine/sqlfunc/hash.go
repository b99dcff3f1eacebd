package sqlfunc

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"

	"sockql/tables"
)

func hashFunctions() []Function {
	return []Function{
		hashFunction("md5", "MD5 (RFC 1321)", func(b []byte) []byte { d := md5.Sum(b); return d[:] }),
		hashFunction("sha1", "SHA-1 (FIPS 180-4)", func(b []byte) []byte { d := sha1.Sum(b); return d[:] }),
		hashFunction("sha256", "SHA-256 (FIPS 180-4)", func(b []byte) []byte { d := sha256.Sum256(b); return d[:] }),
	}
}

func hashFunction(name, algorithm string, sum func([]byte) []byte) Function {
	return Function{
		Name: name, Args: []int{1}, Deterministic: true,
		Doc: name + "(value) returns the " + algorithm + " digest of the value as text, up to its first NUL byte, in lower-case hexadecimal; NULL for NULL.",
		Eval: func(_ context.Context, _ *Call, args []tables.Value) (tables.Value, error) {
			if args[0].IsNull() {
				return tables.Null(), nil
			}
			return tables.String(hex.EncodeToString(sum([]byte(text(args[0]))))), nil
		},
	}
}
