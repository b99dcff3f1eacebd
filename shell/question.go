package shell

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sockql/shell/internal/render"
	"sockql/tables"
)

// A question is a statement that is ready to be asked by one word.
type question struct {
	name, arg, doc string
	sql            func(arg string) (string, error)
	// remote is the column of addresses that --resolve gives names to, or "".
	remote string
}

// endpoint is SQL for "address:port" of one side of an inet socket.
func endpoint(side string) string {
	return fmt.Sprintf("iif(s.family = 10, '[' || s.%[1]s_address || ']', s.%[1]s_address) || ':' || s.%[1]s_port", side)
}

// questions returns the ready questions. Each is one statement, which --sql
// shows.
func questions() []question {
	fixed := func(sql string) func(string) (string, error) {
		return func(string) (string, error) { return sql, nil }
	}
	return []question{
		{
			name: "listen", doc: "who listens on which port",
			sql: fixed(`SELECT s.pid, p.name AS process, protocol_name(s.protocol) AS protocol,
  s.local_address AS address, s.local_port AS port, service_name(s.local_port, s.protocol) AS service,
  s.backlog, s.backlog_limit
FROM socket_states s LEFT JOIN processes p ON p.pid = s.pid
WHERE s.family IN (2, 10) AND s.is_listener = 1
ORDER BY s.protocol, s.local_port, s.local_address, s.pid;`),
		},
		{
			name: "conns", doc: "who is connected to whom", remote: "remote_address",
			sql: fixed(`SELECT s.pid, p.name AS process, protocol_name(s.protocol) AS protocol, s.state,
  ` + endpoint("local") + ` AS local, s.remote_address, s.remote_port,
  service_name(min(s.local_port, s.remote_port), s.protocol) AS service, s.rx_queue, s.tx_queue
FROM socket_states s LEFT JOIN processes p ON p.pid = s.pid
WHERE s.family IN (2, 10) AND s.remote_port <> 0
ORDER BY s.pid < 0, p.name, s.pid, s.remote_address, s.remote_port, s.local_port;`),
		},
		{
			name: "top", doc: "which processes have the most sockets and the fullest queues",
			sql: fixed(`SELECT s.pid, p.name AS process, count(DISTINCT s.socket) AS sockets,
  count(*) FILTER (WHERE s.state = 'ESTABLISHED') AS established, count(*) FILTER (WHERE s.is_listener = 1) AS listening,
  coalesce(sum(s.rx_queue) FILTER (WHERE s.is_listener IS NOT 1), 0) AS rx_queue,
  coalesce(sum(s.tx_queue) FILTER (WHERE s.is_listener IS NOT 1), 0) AS tx_queue
FROM socket_states s LEFT JOIN processes p ON p.pid = s.pid
WHERE s.pid > 0
GROUP BY s.pid, p.name
ORDER BY sockets DESC, rx_queue DESC, tx_queue DESC, s.pid
LIMIT 20;`),
		},
		{
			name: "who", arg: "PORT", doc: "who uses a port, here or at the other end", remote: "remote_address",
			sql: func(arg string) (string, error) {
				port, err := net.DefaultResolver.LookupPort(context.Background(), "tcp", arg)
				if err != nil || port == 0 {
					return "", &usageError{message: fmt.Sprintf("who: %q is no port", arg), hint: "It takes a number from 1 to 65535 or a service's name: sockql who 443"}
				}
				return fmt.Sprintf(`SELECT s.pid, p.name AS process, protocol_name(s.protocol) AS protocol, s.state,
  %s AS local, s.remote_address, s.remote_port, p.cmdline
FROM socket_states s LEFT JOIN processes p ON p.pid = s.pid
WHERE s.family IN (2, 10) AND (s.local_port = %d OR s.remote_port = %d)
ORDER BY s.pid < 0, s.remote_port <> 0, s.pid, s.fd;`, endpoint("local"), port, port), nil
			},
		},
		{
			name: "ps", arg: "PID", doc: "which sockets a process has", remote: "remote_address",
			sql: func(arg string) (string, error) {
				pid, err := strconv.ParseInt(arg, 10, 32)
				if err != nil || pid <= 0 {
					return "", &usageError{message: fmt.Sprintf("ps: %q is no process ID", arg), hint: "It takes a positive number: sockql ps 1"}
				}
				return fmt.Sprintf(`SELECT s.fd, family_name(s.family) AS family, protocol_name(s.protocol) AS protocol, s.state,
  %s AS local, s.remote_address, s.remote_port, s.path, s.rx_queue, s.tx_queue
FROM socket_states s
WHERE s.pid = %d
ORDER BY s.fd;`, endpoint("local"), pid), nil
			},
		},
	}
}

// question returns the work that arguments such as "who 443" ask for, or nil
// if the first is none of the words.
func (s *shell) question(args []string) (func(context.Context) error, error) {
	all := questions()
	i := slices.IndexFunc(all, func(q question) bool { return q.name == args[0] })
	if i < 0 {
		if slices.ContainsFunc(s.config.Subcommands, func(c Subcommand) bool { return c.Name == args[0] }) {
			return nil, &usageError{message: fmt.Sprintf("the command %s comes before its flags", args[0]), hint: "Usage: sockql " + args[0] + " [flags]"}
		}
		return nil, nil
	}
	q := all[i]
	want := 1
	if q.arg != "" {
		want = 2
	}
	if len(args) != want {
		return nil, &usageError{message: fmt.Sprintf("%s: %d arguments given", q.name, len(args)-1), hint: strings.TrimSpace("Usage: sockql "+q.name+" "+q.arg) + " [flags]"}
	}
	arg := ""
	if want == 2 {
		arg = args[1]
	}
	sql, err := q.sql(arg)
	if err != nil {
		return nil, err
	}
	if s.flags.bool("sql") {
		return func(context.Context) error {
			_, err := fmt.Fprintln(s.stdout, sql)
			return err
		}, nil
	}
	if s.options.Mode == render.Pretty && !s.flags.given["mode"] {
		s.options.Mode = render.Aligned
	}
	if every := s.flags.string("watch"); every != "" {
		if q.remote != "" && s.flags.bool("resolve") {
			return nil, &usageError{message: "--resolve and --watch exclude each other", hint: "A statement of your own can watch resolve(remote_address)."}
		}
		return func(ctx context.Context) error { return s.watch(ctx, every, sql) }, nil
	}
	if q.remote != "" && s.flags.bool("resolve") && !s.explaining {
		return func(ctx context.Context) error { return s.resolved(ctx, sql, q.remote) }, nil
	}
	return func(ctx context.Context) error { return s.script(ctx, sql) }, nil
}

// resolved prints a result with the names of its remote addresses in a column
// more. They are looked up when the statement is done, all at a time and for
// two seconds at most: a slow name server never holds up a scan.
func (s *shell) resolved(ctx context.Context, sql, column string) error {
	var names []string
	rows, warnings, err := s.collect(ctx, sql, &names)
	defer func() { s.warn(warnings...) }()
	if err != nil {
		return s.failed(err, sql)
	}
	remote := slices.Index(names, column)
	addresses := map[string]bool{}
	for _, row := range rows {
		if v := row[remote]; !v.IsNull() {
			addresses[v.String()] = true
		}
	}
	found := lookUp(ctx, addresses)
	out := s.open()
	printer := render.New(out, s.renderOptions(out))
	printer.Columns(slices.Insert(names, remote+1, "remote_name"))
	for _, row := range rows {
		name := tables.Null()
		if text := found[row[remote].String()]; text != "" {
			name = tables.String(text)
		}
		if err = printer.Row(slices.Insert(row, remote+1, name)); err != nil {
			break
		}
	}
	for _, e := range []error{printer.End(), printer.Close(), out.Close()} {
		if err == nil {
			err = e
		}
	}
	if quiet(err) {
		return nil
	}
	return err
}

// lookUp returns the names of addresses, as far as they are found in time.
func lookUp(ctx context.Context, addresses map[string]bool) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var (
		mu    sync.Mutex
		wg    sync.WaitGroup
		found = map[string]string{}
		slots = make(chan struct{}, 16)
	)
	for address := range addresses {
		wg.Go(func() {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			defer func() { <-slots }()
			names, err := net.DefaultResolver.LookupAddr(ctx, address)
			if err != nil || len(names) == 0 {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			found[address] = strings.TrimSuffix(names[0], ".")
		})
	}
	wg.Wait()
	return found
}

// collect runs a statement and keeps its rows and its warnings.
func (s *shell) collect(ctx context.Context, sql string, names *[]string) (rows [][]tables.Value, warnings []error, err error) {
	session := s.conn.Begin(ctx)
	defer func() {
		warnings = session.TakeWarnings()
		if e := session.Close(); err == nil {
			err = e
		}
	}()
	st, _, err := session.Prepare(sql)
	if err != nil || st == nil {
		return nil, nil, err
	}
	*names = (*names)[:0]
	for _, c := range st.Columns() {
		*names = append(*names, c.Name)
	}
	rows, err = st.Collect()
	return rows, nil, err
}
