package shell

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
)

// A flagKind tells how a flag takes its value.
type flagKind uint8

const (
	boolFlag   flagKind = iota // --x, --x=false, --nox
	stringFlag                 // --x=v, --x v
)

// A flagUse tells what a flag does here.
type flagUse uint8

const (
	effective flagUse = iota
	// inert flags tune or switch off parts of osqueryd that the shell has not:
	// it behaves as they ask either way.
	inert
	// daemonOnly flags ask for what the shell cannot do.
	daemonOnly
)

// A flagDef is a flag of the command line. Names and rules are those of
// osqueryi, which uses gflags (https://gflags.github.io/gflags/).
type flagDef struct {
	name     string
	kind     flagKind
	value    string // the default
	arg      string // what the help calls the value
	doc      string
	use      flagUse
	choices  []string
	ours     bool   // osqueryi has no such flag
	complete string // what a shell completes: "file", "dir" or "table"
}

// flagDefs lists the flags, osqueryi's own first.
var flagDefs = append([]flagDef{
	{name: "json", doc: "print an array with one JSON object per line, all values strings"},
	{name: "json_pretty", doc: "print an array of indented JSON objects"},
	{name: "csv", doc: "print csv; values are separated by --separator"},
	{name: "line", doc: "print one value per line"},
	{name: "list", doc: "print values separated by --separator, without quotes"},
	{name: "separator", kind: stringFlag, value: "|", arg: "TEXT", doc: "what separates the values of --csv and --list"},
	{name: "header", value: "true", doc: "begin csv, list, column and tsv with the columns' names"},
	{name: "nullvalue", kind: stringFlag, arg: "TEXT", doc: "what stands for NULL"},
	{name: "L", doc: "list the tables"},
	{name: "A", kind: stringFlag, arg: "TABLE", doc: "print all rows of a table", complete: "table"},
	{name: "pack", kind: stringFlag, arg: "FILE|NAME", doc: "run all queries of a pack: a pack file, or a pack that --config_path names"},
	{name: "planner", doc: "say on standard error how each scan was narrowed"},
	{name: "query", kind: stringFlag, arg: "SQL", doc: "run this SQL"},
	{name: "query_file", kind: stringFlag, arg: "FILE", doc: "run the SQL in a file", complete: "file"},
	{name: "output", kind: stringFlag, arg: "FILE", doc: "print results to a file", complete: "file"},
	{name: "config_path", kind: stringFlag, value: "/etc/osquery/osquery.conf", arg: "FILE", doc: "the configuration in which --pack looks for names", complete: "file"},
	{name: "flagfile", kind: stringFlag, arg: "FILE", doc: "read further flags from a file, one a line", complete: "file"},
	{name: "enable_tables", kind: stringFlag, arg: "NAME,…", doc: "offer only these tables"},
	{name: "disable_tables", kind: stringFlag, arg: "NAME,…", doc: "offer all tables but these"},
	{name: "connect", kind: stringFlag, arg: "PATH", doc: "have statements answered by the osquery that serves this extensions socket", complete: "file"},
	{name: "extension", kind: stringFlag, arg: "PATH", doc: "load an osquery extension", complete: "file"},
	{name: "extensions_autoload", kind: stringFlag, arg: "FILE", doc: "load the osquery extensions that a file lists", complete: "file"},
	{name: "extensions_require", kind: stringFlag, arg: "NAME,…", doc: "wait for these extensions before the first statement"},
	{name: "extensions_socket", kind: stringFlag, value: "/var/osquery/osquery.em", arg: "PATH", doc: "where extensions register; without it in a new directory", complete: "file"},
	{name: "extensions_timeout", kind: stringFlag, value: "3", arg: "SECONDS", doc: "how long an extension may take to register"},
	{name: "extensions_interval", kind: stringFlag, value: "3", arg: "SECONDS", doc: "time between two looks whether an extension answers"},
	{name: "allow_unsafe", doc: "load extensions whatever their files' permissions are"},
	{name: "verbose", doc: "log what happens to extensions"},
	{name: "read_max", kind: stringFlag, value: "52428800", arg: "BYTES", doc: "the table hash leaves larger files out; 0 for none"},
	{name: "version", doc: "print the version"},
	{name: "help", doc: "print this help"},

	{name: "proc", kind: stringFlag, arg: "DIR", doc: "read this /proc: a container's view of its host, a recorded tree", ours: true, complete: "dir"},
	{name: "source", kind: stringFlag, value: "auto", arg: "NAME", doc: "where sockets come from", choices: []string{"auto", "bpf", "netlink", "procfs"}, ours: true},
	{name: "sql_memory_limit", kind: stringFlag, value: "1024", arg: "MIB", doc: "what sorting, grouping and keeping rows may take; 0 for no limit", ours: true},
	{name: "typed", doc: "print JSON whose numbers are numbers, with null for NULL and base64 for blobs", ours: true},
	{name: "mode", kind: stringFlag, arg: "MODE", doc: "print in this mode", choices: modeNames(), ours: true},
	{name: "jsonl", doc: "print one JSON object per line and no array", ours: true},
	{name: "markdown", doc: "print a Markdown table", ours: true},
	{name: "tsv", doc: "print tab-separated values", ours: true},
	{name: "column", doc: "print left-aligned columns", ours: true},
	{name: "expanded", doc: "print a block for each row", ours: true},
	{name: "auto_expand", value: "true", doc: "print a table that is wider than the terminal expanded", ours: true},
	{name: "explain", doc: "run the statement, and show in place of its rows how it was answered and what took the time", ours: true},
	{name: "watch", kind: stringFlag, arg: "INTERVAL", doc: "run the statement again and again (1s, 500ms) and show what changes", ours: true},
	{name: "resolve", doc: "let the function resolve() and the ready questions ask the DNS for names", ours: true},
	{name: "sql", doc: "a ready question prints its statement instead of running it", ours: true},
	{name: "color", kind: stringFlag, value: "auto", arg: "WHEN", doc: "colours: auto is on a terminal, unless NO_COLOR is set", choices: []string{"auto", "always", "never"}, ours: true},
	{name: "pager", value: "true", doc: "show results longer than the terminal with $SOCKQL_PAGER, $PAGER or less", ours: true},
	{name: "progress", value: "true", doc: "show time and rows of a statement that takes longer than half a second, on a terminal", ours: true},
	{name: "rc", value: "true", doc: "run ~/.config/sockql/rc before the first prompt", ours: true},
}, foreignFlags()...)

// foreignFlags lists flags of osqueryi and osqueryd that scripts pass along
// and that have no work to do in this shell. Their defaults are osqueryi's, as
// .features shows them.
func foreignFlags() []flagDef {
	var defs []flagDef
	for _, f := range []struct{ name, value string }{
		{"disable_audit", "true"}, {"disable_caching", "true"}, {"disable_carver", "true"},
		{"disable_database", "true"}, {"disable_decorators", "false"}, {"disable_distributed", "true"},
		{"disable_events", "true"}, {"disable_extensions", "true"}, {"disable_logging", "true"},
		{"disable_memory", "false"}, {"disable_watchdog", "true"}, {"enable_extensions_watchdog", "false"},
		{"enable_file_events", "false"}, {"enable_foreign", "false"}, {"enable_numeric_monitoring", "false"},
		{"enable_watchdog_debug", "false"},
		{"ephemeral", "false"}, {"force", "false"}, {"config_check", "false"},
		{"config_dump", "false"}, {"daemonize", "true"}, {"logger_event_type", "true"},
		{"logger_snapshot_event_type", "false"}, {"logger_rotate", "false"}, {"logger_numerics", "false"},
		{"logger_tls_compress", "false"}, {"events_optimize", "true"}, {"decorations_top_level", "false"},
		{"schedule_lognames", "false"}, {"logtostderr", "false"}, {"stderrthreshold", "2"},
	} {
		defs = append(defs, flagDef{name: f.name, value: f.value, use: inert})
	}
	for _, f := range []struct {
		name, value string
		use         flagUse
	}{
		{"enroll_secret_path", "", daemonOnly}, {"enroll_secret_env", "", daemonOnly},
		{"enroll_tls_endpoint", "", daemonOnly}, {"enroll_max_attempts", "", daemonOnly},
		{"tls_hostname", "", daemonOnly}, {"tls_server_certs", "", daemonOnly},
		{"tls_client_cert", "", daemonOnly}, {"tls_client_key", "", daemonOnly}, {"tls_enroll_max_attempts", "", daemonOnly},
		{"distributed_plugin", "", daemonOnly}, {"distributed_interval", "", daemonOnly},
		{"distributed_tls_read_endpoint", "", daemonOnly}, {"distributed_tls_write_endpoint", "", daemonOnly},
		{"distributed_tls_max_attempts", "", daemonOnly},
		{"config_tls_endpoint", "", daemonOnly}, {"config_tls_max_attempts", "", daemonOnly},
		{"logger_tls_endpoint", "", daemonOnly}, {"docker_socket", "", daemonOnly},
		{"config_plugin", "filesystem", inert}, {"config_refresh", "0", inert},
		{"config_accelerated_refresh", "300", inert}, {"pidfile", "", inert},
		{"watchdog_level", "0", inert}, {"watchdog_memory_limit", "0", inert},
		{"watchdog_utilization_limit", "0", inert}, {"watchdog_latency_limit", "0", inert}, {"watchdog_delay", "60", inert},
		{"database_path", "", inert},
		{"logger_plugin", "filesystem", inert}, {"logger_path", "", inert}, {"logger_mode", "0640", inert},
		{"logger_min_status", "0", inert}, {"logger_min_stderr", "0", inert}, {"logger_tls_period", "4", inert},
		{"logger_tls_max_lines", "1024", inert}, {"logger_tls_backoff_max", "3600", inert},
		{"schedule_splay_percent", "10", inert}, {"schedule_default_interval", "3600", inert},
		{"schedule_timeout", "0", inert}, {"schedule_max_drift", "60", inert}, {"schedule_epoch", "0", inert},
		{"pack_delimiter", "_", inert}, {"pack_refresh_interval", "3600", inert},
		{"host_identifier", "hostname", inert}, {"specified_identifier", "", inert},
		{"events_expiry", "3600", inert}, {"events_max", "50000", inert},
		{"table_delay", "0", inert}, {"hash_cache_max", "500", inert}, {"buffered_log_max", "1000000", inert},
	} {
		defs = append(defs, flagDef{name: f.name, kind: stringFlag, value: f.value, use: f.use})
	}
	return defs
}

// flags holds the values of a command line.
type flags struct {
	values map[string]string
	given  map[string]bool
}

func newFlags() *flags {
	f := &flags{values: map[string]string{}, given: map[string]bool{}}
	for _, d := range flagDefs {
		f.values[d.name] = d.value
		if d.kind == boolFlag && d.value == "" {
			f.values[d.name] = "false"
		}
	}
	return f
}

func (f *flags) string(name string) string { return f.values[name] }
func (f *flags) bool(name string) bool     { return f.values[name] == "true" }

func findFlag(name string) *flagDef {
	i := slices.IndexFunc(flagDefs, func(d flagDef) bool { return d.name == name })
	if i < 0 {
		return nil
	}
	return &flagDefs[i]
}

// A usageError is what somebody did wrong on the command line.
type usageError struct {
	message, hint string
}

func (e *usageError) Error() string {
	if e.hint == "" {
		return "ERROR: " + e.message
	}
	return "ERROR: " + e.message + "\n" + e.hint
}

// parse takes the flags out of args and returns what is left. Flags and other
// arguments may be mixed; "--" ends the flags.
func (f *flags) parse(args []string) (rest []string, err error) {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			return append(rest, args...), nil
		}
		if len(arg) < 2 || arg[0] != '-' {
			rest = append(rest, arg)
			continue
		}
		name, value, hasValue := strings.Cut(strings.TrimPrefix(arg[1:], "-"), "=")
		d := findFlag(name)
		if d == nil {
			d = findFlag(strings.ReplaceAll(name, "-", "_"))
		}
		if d == nil {
			if base := findFlag(strings.TrimPrefix(name, "no")); base != nil && base.name != name && base.kind == boolFlag {
				if hasValue {
					return nil, &usageError{message: fmt.Sprintf("boolean value (%s) specified for --%s, which takes none", value, name)}
				}
				f.set(base.name, "false")
				continue
			}
			return nil, unknownFlag(name)
		}
		if !hasValue {
			if d.kind == boolFlag {
				value = "true"
			} else {
				if len(args) == 0 {
					return nil, &usageError{message: fmt.Sprintf("flag '%s' is missing its argument; flag description: %s", d.name, d.doc)}
				}
				value, args = args[0], args[1:]
			}
		}
		if err := f.assign(d, value); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

func (f *flags) assign(d *flagDef, value string) error {
	if d.kind == boolFlag {
		b, ok := parseBool(value)
		if !ok {
			return &usageError{message: fmt.Sprintf("illegal value '%s' specified for bool flag '%s'", value, d.name), hint: "It takes true or false."}
		}
		value = fmt.Sprint(b)
	}
	if len(d.choices) > 0 && !slices.Contains(d.choices, value) {
		return &usageError{message: fmt.Sprintf("illegal value '%s' specified for flag '%s'", value, d.name), hint: "It takes one of: " + strings.Join(d.choices, " ") + "."}
	}
	f.set(d.name, value)
	if d.name == "flagfile" {
		return f.readFile(value)
	}
	return nil
}

func (f *flags) set(name, value string) {
	f.values[name] = value
	f.given[name] = true
}

// readFile reads flags from a file as gflags does: one a line, with # before
// comments.
func (f *flags) readFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return &usageError{message: fmt.Sprintf("flagfile: %v", err)}
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); ; {
		if !lines.Scan() {
			if err := lines.Err(); err != nil {
				return &usageError{message: fmt.Sprintf("flagfile: read %q: %v", path, err)}
			}
			return nil
		}
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if strings.HasPrefix(strings.TrimLeft(line, "-"), "flagfile") {
			return &usageError{message: fmt.Sprintf("flagfile: %q names another flagfile", path)}
		}
		rest, err := f.parse([]string{line})
		if err == nil && len(rest) > 0 {
			err = &usageError{message: fmt.Sprintf("flagfile: %q: %q is no flag", path, line), hint: "Each line is --name=value."}
		}
		if err != nil {
			return err
		}
	}
}

// useless returns the given flags that this shell cannot obey.
func (f *flags) useless() []string {
	var names []string
	for _, d := range flagDefs {
		if d.use == daemonOnly && f.given[d.name] && f.values[d.name] != "" {
			names = append(names, d.name)
		}
	}
	return names
}

// parseBool knows the words of gflags.
func parseBool(s string) (value, ok bool) {
	switch strings.ToLower(s) {
	case "1", "t", "true", "y", "yes":
		return true, true
	case "0", "f", "false", "n", "no":
		return false, true
	}
	return false, false
}

func unknownFlag(name string) error {
	e := &usageError{message: fmt.Sprintf("unknown command line flag '%s'", name)}
	if strings.ContainsAny(name, " \t\n") {
		return e // SQL that begins with a comment
	}
	var candidates []string
	for _, d := range flagDefs {
		if d.use == effective {
			candidates = append(candidates, d.name)
		}
	}
	if near := nearest(name, candidates); near != "" {
		e.hint = fmt.Sprintf("Did you mean --%s? --help lists the flags.", near)
	} else {
		e.hint = "--help lists the flags."
	}
	return e
}
