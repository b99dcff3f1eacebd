package tables

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAccount(t *testing.T) {
	table, err := New(Def[int]{
		Name:    "t",
		Columns: []Column[int]{{Name: "a", Get: func(n *int) Value { return Int(*n) }}},
		Rows: func(_ context.Context, q *Query, yield func(*int) bool) error {
			q.Account(Account{Source: "procfs"})
			if q.Accounts() {
				q.Account(Account{Source: "bpf", Pushed: []string{"a"}, Namespaces: 2, Snapshot: true})
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []Account
	q := NewQuery(NewSession(t.Context()), table.Schema(), Request{})
	q.OnAccount(func(a Account) { got = append(got, a) })
	if err := Run(t.Context(), table, q, func(Row) bool { return true }); err != nil {
		t.Fatal(err)
	}
	want := []Account{{Source: "procfs"}, {Source: "bpf", Pushed: []string{"a"}, Namespaces: 2, Snapshot: true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want- got+\n%s", diff)
	}
}

func TestAccountWithoutListener(t *testing.T) {
	(*Query)(nil).Account(Account{})
	q := NewQuery(NewSession(t.Context()), &Schema{}, Request{})
	if q.Accounts() {
		t.Error("somebody listens")
	}
	if n := testing.AllocsPerRun(100, func() { q.Account(Account{Source: "bpf", Namespaces: 1}) }); n != 0 {
		t.Errorf("%v allocations where nobody listens", n)
	}
}
