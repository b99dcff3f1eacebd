package sqlfunc

import (
	"context"

	"sockql/tables"
)

// A Function is a scalar SQL function, as the engine registers it on each
// connection.
type Function struct {
	Name string
	// Args lists the accepted numbers of arguments; nil accepts any number.
	Args []int
	// Deterministic functions give the same result for the same arguments
	// (https://www.sqlite.org/deterministic.html).
	Deterministic bool
	// Doc says in one sentence what the function returns.
	Doc string
	// Eval computes the result. It ends early when ctx does. An error ends the
	// statement with the error's text. args is valid until Eval returns.
	Eval func(ctx context.Context, c *Call, args []tables.Value) (tables.Value, error)
}

// A Call is what one call of a function may use beside its arguments.
type Call struct {
	// Warn reports what is wrong without ending the statement.
	Warn func(error)
	// Cache keeps a value for later calls in the same statement, such as a
	// compiled pattern. It is never nil and belongs to one connection.
	Cache map[any]any
	// MaxBytes is the length of the longest text that SQLite would take as a
	// result, in bytes; 0 stands for 2 GiB.
	MaxBytes int
}

// A Collation is a collating sequence.
type Collation struct {
	Name    string
	Doc     string
	Compare func(a, b string) int
}
