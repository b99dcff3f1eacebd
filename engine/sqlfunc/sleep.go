package sqlfunc

import (
	"context"
	"time"

	"sockql/tables"
)

func sleepFunctions() []Function {
	return []Function{{
		Name: "sleep", Args: []int{1}, Eval: sleep,
		Doc: "sleep(seconds) waits for so many whole seconds and returns their number. For a negative number, and for NULL, it returns 0 at once. It ends with the statement.",
	}}
}

func sleep(ctx context.Context, _ *Call, args []tables.Value) (tables.Value, error) {
	seconds := integer32(args[0])
	if seconds <= 0 {
		return tables.Int(0), nil
	}
	timer := time.NewTimer(time.Duration(seconds) * time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
		return tables.Int(seconds), nil
	case <-ctx.Done():
		return tables.Null(), context.Cause(ctx)
	}
}
