package daemon

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"sockql/engine/resultlog"
	"sockql/engine/schedule"
)

// flags are the flags of the command, named as osqueryd's are.
type flags struct {
	set *flag.FlagSet

	configPath                                string
	configCheck, configDump, once             bool
	configRefresh, configAcceleratedRefresh   uint64
	databasePath, pidfile, loggerPlugin       string
	ephemeral, disableDatabase                bool
	loggerPath, loggerMode                    string
	loggerRotate                              bool
	loggerRotateSize                          int64
	loggerRotateFiles                         int
	loggerEvents, snapshotEvents, numerics    bool
	loggerMinStatus, loggerMinStderr          int
	loggerStderr                              bool
	syslogFacility                            int
	syslogCEE, disableLogging                 bool
	bufferedLogMax                            int64
	topLevel, disableDecorators               bool
	hostIdentifier, specifiedIdentifier       string
	splay, defaultInterval, epoch             uint64
	scheduleTimeout, discoveryInterval        uint64
	logNames, verbose                         bool
	delimiter                                 string
	queryTimeout                              time.Duration
	resultMax, memoryMax                      int64
	disableWatchdog                           bool
	watchdogLevel                             int
	watchdogMemory, watchdogCPU               uint64
	watchdogLatency, watchdogDelay            uint64
	proc, source, enableTables, disableTables string
	readMax                                   uint64
	extensionFiles, extensionsAutoload        string
	extensionsSocket, extensionsRequire       string
	extensionsTimeout, extensionsInterval     uint64
	disableExtensions, allowUnsafe            bool
}

// startupOnly are flags that options of a configuration cannot change: the
// process has acted on them by then. osqueryd calls them CLI-only.
var startupOnly = []string{
	"config_path", "config_check", "config_dump", "config_refresh", "config_accelerated_refresh", "once", "flagfile",
	"database_path", "disable_database", "ephemeral", "pidfile", "logger_mode", "disable_watchdog", "watchdog_level",
	"watchdog_memory_limit", "watchdog_utilization_limit", "watchdog_latency_limit", "watchdog_delay", "proc", "source", "read_max",
	"logger_plugin", "logger_path", "logger_rotate", "logger_rotate_size", "logger_rotate_max_files", "logger_min_status",
	"logger_min_stderr", "logger_stderr", "logger_syslog_facility", "logger_syslog_prepend_cee", "buffered_log_max", "disable_logging",
	"verbose", "enable_tables", "disable_tables", "extension", "extensions_autoload", "extensions_socket",
	"extensions_require", "extensions_timeout", "extensions_interval", "disable_extensions", "allow_unsafe",
	"schedule_memory_max",
}

// lateOptions are those of startupOnly that osqueryd takes from its options, and
// so does this daemon when it starts.
var lateOptions = []string{
	"logger_plugin", "logger_path", "logger_rotate", "logger_rotate_size", "logger_rotate_max_files", "logger_min_status",
	"logger_min_stderr", "logger_stderr", "logger_syslog_facility", "logger_syslog_prepend_cee", "buffered_log_max", "disable_logging", "verbose",
	"enable_tables", "disable_tables", "schedule_memory_max", "read_max",
}

func newFlags() *flags {
	f := &flags{set: flag.NewFlagSet("sockql daemon", flag.ContinueOnError)}
	s := f.set
	s.SetOutput(io.Discard)
	s.StringVar(&f.configPath, "config_path", "/etc/osquery/osquery.conf", "the configuration; files in `PATH`.d are merged")
	s.BoolVar(&f.configCheck, "config_check", false, "check the configuration and its queries, and exit")
	s.BoolVar(&f.configDump, "config_dump", false, "print the configuration, and exit")
	s.BoolVar(&f.once, "once", false, "run all queries that are due, and exit")
	s.Uint64Var(&f.configRefresh, "config_refresh", 0, "read the configuration again every so many `SECONDS`; 0 for never")
	s.Uint64Var(&f.configAcceleratedRefresh, "config_accelerated_refresh", 300, "the same after the configuration was found broken, in `SECONDS`")
	s.StringVar(&f.databasePath, "database_path", "/var/osquery/sockql.db", "the `FILE` that keeps the state of queries")
	s.BoolVar(&f.ephemeral, "ephemeral", false, "keep the state in memory")
	s.BoolVar(&f.disableDatabase, "disable_database", false, "the same")
	s.StringVar(&f.pidfile, "pidfile", "", "write the process's number to this `FILE`")
	s.StringVar(&f.loggerPlugin, "logger_plugin", "filesystem", "where results go: filesystem, stdout, syslog, or several with commas")
	s.StringVar(&f.loggerPath, "logger_path", "/var/log/osquery", "the `DIRECTORY` of the log files")
	s.StringVar(&f.loggerMode, "logger_mode", "0640", "mode of new log files, octal")
	s.BoolVar(&f.loggerRotate, "logger_rotate", false, "move a log file away when it is large")
	s.Int64Var(&f.loggerRotateSize, "logger_rotate_size", 25<<20, "that many `BYTES` are large")
	s.IntVar(&f.loggerRotateFiles, "logger_rotate_max_files", 25, "number of moved files to keep")
	s.BoolVar(&f.loggerEvents, "logger_event_type", true, "log each row by itself")
	s.BoolVar(&f.snapshotEvents, "logger_snapshot_event_type", false, "log each row of a snapshot by itself")
	s.BoolVar(&f.numerics, "logger_numerics", false, "log numbers without quotes")
	s.IntVar(&f.loggerMinStatus, "logger_min_status", 0, "least level of the status log: 0 info, 1 warning, 2 error")
	s.BoolVar(&f.loggerStderr, "logger_stderr", true, "write the status log to standard error, unless stdout takes it")
	s.IntVar(&f.loggerMinStderr, "logger_min_stderr", 0, "least level on standard error")
	s.IntVar(&f.syslogFacility, "logger_syslog_facility", 19, "facility of syslog, 0 to 23")
	s.BoolVar(&f.syslogCEE, "logger_syslog_prepend_cee", false, "put @cee: before lines in syslog")
	s.BoolVar(&f.disableLogging, "disable_logging", false, "log neither results nor status")
	s.Int64Var(&f.bufferedLogMax, "buffered_log_max", 1_000_000, "number of lines that wait for a logger that fails")
	s.BoolVar(&f.topLevel, "decorations_top_level", false, "put decorations beside the other keys")
	s.BoolVar(&f.disableDecorators, "disable_decorators", false, "run no decorators")
	s.StringVar(&f.hostIdentifier, "host_identifier", "hostname", "what names the host: hostname, uuid, instance, ephemeral, specified")
	s.StringVar(&f.specifiedIdentifier, "specified_identifier", "", "the host's name for specified")
	s.Uint64Var(&f.splay, "schedule_splay_percent", 10, "percentage by which intervals vary from host to host; 0 and 1 stand for 10")
	s.Uint64Var(&f.defaultInterval, "schedule_default_interval", 3600, "interval of queries that have none, in `SECONDS`")
	s.Uint64Var(&f.epoch, "schedule_epoch", 0, "another number begins all results anew")
	s.Uint64Var(&f.scheduleTimeout, "schedule_timeout", 0, "end after so many `SECONDS`; 0 for never")
	s.Uint64Var(&f.discoveryInterval, "pack_refresh_interval", 3600, "for how many `SECONDS` discovery queries count")
	s.BoolVar(&f.logNames, "schedule_lognames", false, "log the name of each query that runs")
	s.BoolVar(&f.verbose, "verbose", false, "log more")
	s.StringVar(&f.delimiter, "pack_delimiter", "_", "what joins the names of packs and queries")
	s.DurationVar(&f.queryTimeout, "schedule_query_timeout", 2*time.Minute, "end a query that takes longer")
	s.Int64Var(&f.resultMax, "schedule_result_max", 32<<20, "end a query whose result takes more `BYTES` of JSON")
	s.Int64Var(&f.memoryMax, "schedule_memory_max", 0, "end a query that takes more `BYTES` of memory; 0 for three quarters of the watchdog's limit, -1 for any")
	s.BoolVar(&f.disableWatchdog, "disable_watchdog", false, "run without the parent that watches")
	s.IntVar(&f.watchdogLevel, "watchdog_level", 0, "limits of the watchdog: 0 normal, 1 restrictive, -1 off")
	s.Uint64Var(&f.watchdogMemory, "watchdog_memory_limit", 0, "memory in `MB` instead of the level's")
	s.Uint64Var(&f.watchdogCPU, "watchdog_utilization_limit", 0, "percentage of all processors instead of the level's")
	s.Uint64Var(&f.watchdogLatency, "watchdog_latency_limit", 0, "`SECONDS` of too much processor time instead of the level's")
	s.Uint64Var(&f.watchdogDelay, "watchdog_delay", 60, "`SECONDS` after a start in which nothing is limited")
	s.StringVar(&f.proc, "proc", "", "read this procfs: a host's, or a recorded tree")
	s.Uint64Var(&f.readMax, "read_max", 52428800, "the table hash leaves files of more `BYTES` out; 0 for none")
	s.StringVar(&f.source, "source", "auto", "where sockets come from: auto, netlink, procfs")
	s.StringVar(&f.enableTables, "enable_tables", "", "offer only these tables, separated by commas")
	s.StringVar(&f.disableTables, "disable_tables", "", "offer all tables but these")
	s.StringVar(&f.extensionFiles, "extension", "", "start these extensions, `FILES` separated by commas")
	s.StringVar(&f.extensionsAutoload, "extensions_autoload", defaultAutoload, "the `FILE` that lists extensions to start")
	s.StringVar(&f.extensionsSocket, "extensions_socket", "", "the `PATH` of the socket on which extensions register; empty for one beside the state")
	s.StringVar(&f.extensionsRequire, "extensions_require", "", "wait for extensions of these `NAMES`, separated by commas, before the first query")
	s.Uint64Var(&f.extensionsTimeout, "extensions_timeout", 3, "how many `SECONDS` extensions may take to register")
	s.Uint64Var(&f.extensionsInterval, "extensions_interval", 3, "ask every so many `SECONDS` whether extensions are there")
	s.BoolVar(&f.disableExtensions, "disable_extensions", false, "neither start extensions nor let any register")
	s.BoolVar(&f.allowUnsafe, "allow_unsafe", false, "start extensions whatever the permissions of their files")
	return f
}

// foreign are flags of osqueryd's that ask for parts that this daemon does not
// have, or for what it does anyway; foreignPrefixes begin the names of families
// of them. They are accepted and have no effect.
var (
	foreign = []string{
		"config_plugin", "config_enable_backup", "config_tls_endpoint", "config_tls_max_attempts", "daemonize", "force", "alarm_timeout",
		"disable_events", "disable_audit", "disable_caching", "disable_carver", "disable_distributed", "disable_enrollment",
		"disable_hash_cache", "disable_memory", "disable_reenrollment", "dns_resolver_refresh_interval",
		"enable_extensions_watchdog", "enable_file_events", "enable_foreign", "enable_numeric_monitoring", "enable_syslog",
		"enable_watchdog_debug", "extensions_default_index", "hardware_disabled_types", "ignore_table_exceptions",
		"schedule_max_drift", "schedule_reload", "table_delay", "hash_cache_max", "docker_socket", "lxd_socket",
		"keep_container_worker_open", "logtostderr", "malloc_trim_threshold", "nullvalue", "proxy_hostname", "stderrthreshold",
		"utc", "watchdog_forced_shutdown_delay", "worker_threads",
	}
	foreignPrefixes = []string{
		"audit_", "aws_", "carver_", "distributed_", "enroll_", "events_", "logger_kafka_", "logger_tls_", "numeric_monitoring_",
		"syslog_", "thrift_", "tls_", "yara_",
	}
)

func isForeign(name string) bool {
	return slices.Contains(foreign, name) ||
		slices.ContainsFunc(foreignPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// isBool is what a truth flag of package flag implements.
type isBool interface{ IsBoolFlag() bool }

// parse takes flags in the forms of gflags: --x, --nox, --x=v and --x v. It
// returns the flags that have no effect.
func (f *flags) parse(args []string) (useless []string, err error) {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		name, ok := strings.CutPrefix(arg, "-")
		if !ok || name == "" {
			return nil, fmt.Errorf("unexpected argument %q", arg)
		}
		name, value, given := strings.Cut(strings.TrimPrefix(name, "-"), "=")
		name = strings.ReplaceAll(name, "-", "_")
		def := f.set.Lookup(name)
		if base := strings.TrimPrefix(name, "no"); def == nil && base != name && !given {
			if d := f.set.Lookup(base); d != nil && truth(d) {
				def, value, given = d, "false", true
			}
		}
		next := func() error {
			if !given {
				if len(args) == 0 {
					return fmt.Errorf("flag --%s needs a value", name)
				}
				value, args = args[0], args[1:]
			}
			return nil
		}
		switch {
		case name == "help", name == "h":
			return nil, flag.ErrHelp
		case name == "flagfile":
			if err := next(); err != nil {
				return nil, err
			}
			more, err := f.readFile(value)
			if err != nil {
				return nil, err
			}
			useless = append(useless, more...)
		case def == nil && (isForeign(name) || isForeign(strings.TrimPrefix(name, "no"))):
			// A value of its own could not be told from the next flag.
			if !given && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
				args = args[1:]
			}
			useless = append(useless, name)
		case def == nil:
			return nil, fmt.Errorf("unknown command line flag %q; --help lists the flags", name)
		default:
			if truth(def) && !given {
				value, given = "true", true
			}
			if err := next(); err != nil {
				return nil, err
			}
			if err := f.assign(def.Name, value); err != nil {
				return nil, err
			}
		}
	}
	return useless, nil
}

func truth(d *flag.Flag) bool {
	b, ok := d.Value.(isBool)
	return ok && b.IsBoolFlag()
}

func (f *flags) assign(name, value string) error {
	before := f.set.Lookup(name).Value.String()
	err := f.set.Set(name, value)
	if err == nil {
		if err = f.valid(); err == nil {
			return nil
		}
	}
	// The flag keeps what it had.
	if back := f.set.Set(name, before); back != nil {
		err = errors.Join(err, back)
	}
	return fmt.Errorf("illegal value %q for flag --%s: %w", value, name, err)
}

func (f *flags) valid() error {
	if mode, err := strconv.ParseUint(f.loggerMode, 8, 12); err != nil || mode == 0 {
		return errors.New("not a mode of a file")
	}
	if !slices.Contains([]string{"hostname", "uuid", "instance", "ephemeral", "specified"}, f.hostIdentifier) {
		return errors.New("not hostname, uuid, instance, ephemeral or specified")
	}
	for name := range strings.SplitSeq(f.loggerPlugin, ",") {
		if !slices.Contains([]string{"filesystem", "stdout", "syslog"}, name) {
			return errors.New("not filesystem, stdout or syslog")
		}
	}
	if f.syslogFacility < 0 || f.syslogFacility > 23 {
		return errors.New("not from 0 to 23")
	}
	return nil
}

func (f *flags) readFile(path string) (useless []string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("flagfile: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if strings.HasPrefix(strings.TrimLeft(line, "-"), "flagfile") {
			return nil, fmt.Errorf("flagfile: %q names another flagfile", path)
		}
		more, err := f.parse([]string{line})
		if err != nil {
			return nil, fmt.Errorf("flagfile: %q: %w", path, err)
		}
		useless = append(useless, more...)
	}
	return useless, lines.Err()
}

// options applies the options of a configuration, which count more than flags,
// as in osqueryd. It returns what it does not apply. Once the daemon runs, some
// cannot change any more.
func (f *flags) options(values map[string]string, starting bool) (refused []error) {
	for name, value := range values {
		switch {
		case strings.HasPrefix(name, "custom_"), value == "":
		case isForeign(name):
			refused = append(refused, fmt.Errorf("the option %q has no effect here", name))
		case f.set.Lookup(name) == nil:
			refused = append(refused, fmt.Errorf("cannot set unknown or invalid flag %q", name))
		case slices.Contains(startupOnly, name) && !slices.Contains(lateOptions, name):
			refused = append(refused, fmt.Errorf("the option %q is ignored; give it on the command line or in a flagfile", name))
		case slices.Contains(startupOnly, name) && !starting:
			// Said when the daemon started, or a matter of its next start.
		default:
			if err := f.assign(name, value); err != nil {
				refused = append(refused, err)
			}
		}
	}
	slices.SortFunc(refused, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return refused
}

// offered reports whether a table is wanted: with a list of enabled tables only
// they are, and never a disabled one.
func (f *flags) offered(table string) bool {
	has := func(list string) bool {
		return slices.ContainsFunc(strings.Split(list, ","), func(name string) bool { return strings.TrimSpace(name) == table })
	}
	return (f.enableTables == "" || has(f.enableTables)) && !has(f.disableTables)
}

func (f *flags) mode() os.FileMode {
	mode, _ := strconv.ParseUint(f.loggerMode, 8, 12) // valid has seen to it
	return os.FileMode(mode)
}

// inMemory reports whether state is not kept.
func (f *flags) inMemory() bool { return f.ephemeral || f.disableDatabase }

// memoryLimit returns the bytes that a query may take, or 0 for any. By default
// it fails before the watchdog ends the daemon.
func (f *flags) memoryLimit() int64 {
	if f.memoryMax != 0 {
		return max(f.memoryMax, 0)
	}
	level, _ := f.limits()
	return level.memory / 4 * 3
}

// resultLimit returns the bytes that a result may have, or 0 for any: what the
// memory allows, of which a result takes four times its size on its way into
// the state.
func (f *flags) resultLimit() int64 {
	memory := f.memoryLimit() / 4
	switch {
	case memory == 0:
		return f.resultMax
	case f.resultMax <= 0:
		return memory
	}
	return min(f.resultMax, memory)
}

func (f *flags) settings(host func() string) schedule.Settings {
	return schedule.Settings{
		Format: resultlog.Format{
			Events: f.loggerEvents, SnapshotEvents: f.snapshotEvents, Numerics: f.numerics, TopLevel: f.topLevel,
		},
		HostIdentifier: host, Delimiter: f.delimiter, Splay: f.splay, DefaultInterval: f.defaultInterval, Epoch: f.epoch,
		DiscoveryInterval: f.discoveryInterval, Timeout: f.queryTimeout, ResultBytes: f.resultLimit(), MemoryBytes: f.memoryLimit(),
		Decorators: !f.disableDecorators, LogNames: f.logNames || f.verbose,
	}
}

func (f *flags) usage(w io.Writer) {
	fmt.Fprint(w, "Usage: sockql daemon [--FLAG=VALUE ...]\n\nRuns the query packs of an osquery configuration and logs results as osqueryd does.\n\n")
	f.set.SetOutput(w)
	f.set.PrintDefaults()
	f.set.SetOutput(io.Discard)
}
