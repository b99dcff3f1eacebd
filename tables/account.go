package tables

// An Account is what a table tells of how it answered one scan. People read it
// to learn why a statement takes the time it takes.
type Account struct {
	// Source names which of several sources answered: bpf, netlink, procfs, or
	// several joined by a plus, such as "bpf+netlink". It is empty where there
	// is no choice.
	Source string
	// Pushed names the columns whose constraints reached the source, which so
	// had less to collect. Constraints on other columns were checked afterwards,
	// by the table or by SQLite.
	Pushed []string
	// Namespaces is the number of network namespaces whose sockets were
	// collected for this scan.
	Namespaces int
	// Snapshot says that the answer is what the session had collected before.
	Snapshot bool
}

// OnAccount has f called when the table gives an account of the scan. It is
// called before the query is run.
func (q *Query) OnAccount(f func(Account)) { q.account = f }

// Accounts reports whether somebody listens to [Query.Account], so that a table
// need not put together what nobody reads.
func (q *Query) Accounts() bool { return q != nil && q.account != nil }

// Account says how the table answered the scan. A table gives one account a
// scan, when it knows and before it returns; of several the last one counts.
// It costs nothing where nobody listens.
func (q *Query) Account(a Account) {
	if q.Accounts() {
		q.account(a)
	}
}
