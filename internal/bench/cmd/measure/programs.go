package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"sockql/internal/bench/load"
	"sockql/internal/bench/timing"
)

// programs are the paths or names of those that are not found by their usual
// name.
type programs struct {
	sockql, osqueryi, gopsockets string
}

const (
	everything = "SELECT * FROM process_open_sockets"
	countAll   = "SELECT count(*) AS n FROM process_open_sockets"
	countPorts = "SELECT count(*) AS n FROM listening_ports"
	listeners  = "SELECT pid, fd, family, local_address, local_port FROM process_open_sockets WHERE state = 'LISTEN'"
	// CROSS JOIN is what makes SQLite take the tables in this order.
	joinInside  = "SELECT s.*, p.name FROM processes p CROSS JOIN process_open_sockets s USING (pid)"
	joinOutside = "SELECT s.*, p.name FROM process_open_sockets s CROSS JOIN processes p USING (pid)"
)

// questions returns what to ask about a load, of the programs that are
// installed. Of a load that is spread over namespaces it asks for everything
// only.
func (p programs) questions(l load.Load, c load.Config, pid int) []question {
	total := l.Mix.Total()
	sql := func(program, name, statement string, count counter, expected int, option ...string) contender {
		return contender{name, append(append([]string{program, "--json"}, option...), statement), count, expected}
	}
	sockql := func(statement string, count counter, expected int) contender {
		return sql(p.sockql, "sockql", statement, count, expected)
	}
	osqueryi := func(statement string, count counter, expected int) contender {
		return sql(p.osqueryi, "osqueryi", statement, count, expected)
	}
	list := []question{{"all", "every column of every socket", []contender{
		sockql(everything, jsonLine, total),
		sql(p.sockql, "sockql --source netlink", everything, jsonLine, total, "--source", "netlink"),
		sql(p.sockql, "sockql --source procfs", everything, jsonLine, total, "--source", "procfs"),
		{"ss -anp", []string{"ss", "-anp"}, ssLine, total},
		{"netstat -anp", []string{"netstat", "-anp"}, netstatLine, total},
		{"lsof -nP -i", []string{"lsof", "-nP", "-i"}, lsofLine, total},
		{"lsof -nP -i -U", []string{"lsof", "-nP", "-i", "-U"}, lsofLine, total},
		osqueryi(everything, jsonLine, total),
		{"gopsutil", []string{p.gopsockets}, jsonLine, total},
	}}}
	if c.Namespaces <= 1 {
		each := c.Sockets / c.Processes
		one := " WHERE pid = " + strconv.Itoa(pid)
		list = append(list,
			question{"count", "how many sockets", []contender{
				sockql(countAll, number, 0), osqueryi(countAll, number, 0),
			}},
			question{"pid", "the sockets of one process", []contender{
				sockql(everything+one, jsonLine, each),
				{"lsof -nP -a -i -p PID", []string{"lsof", "-nP", "-a", "-i", "-p", strconv.Itoa(pid)}, lsofLine, each},
				osqueryi(everything+one, jsonLine, each),
				{"gopsutil", []string{p.gopsockets, strconv.Itoa(pid)}, jsonLine, each},
			}},
			question{"listeners", "TCP listeners with their processes", []contender{
				sockql(listeners, jsonLine, l.Mix.TCPListen()),
				{"ss -tanp state listening", []string{"ss", "-tanp", "state", "listening"}, ssLine, l.Mix.TCPListen()},
				osqueryi(listeners, jsonLine, l.Mix.TCPListen()),
			}},
			question{"ports", "how many listening_ports", []contender{
				sockql(countPorts, number, 0), osqueryi(countPorts, number, 0),
			}},
			question{"join", "joined with processes, sockets inside", []contender{
				sockql(joinInside, jsonLine, total), osqueryi(joinInside, jsonLine, total),
			}},
			question{"join2", "joined with processes, processes inside", []contender{
				sockql(joinOutside, jsonLine, total), osqueryi(joinOutside, jsonLine, total),
			}},
			question{"one", "SELECT 1", []contender{
				sockql("SELECT 1", nil, 0), osqueryi("SELECT 1", nil, 0),
			}},
		)
	}
	for i, q := range list {
		var installed []contender
		for _, c := range q.contenders {
			if path, ok := find(c.command[0]); ok {
				c.command[0] = path
				installed = append(installed, c)
			}
		}
		list[i].contenders = installed
	}
	return list
}

// find returns the absolute path of a program, if there is one.
func find(name string) (string, bool) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", false
	}
	path, err = filepath.Abs(path)
	return path, err == nil
}

// versions asks each program for its own.
func (p programs) versions(ctx context.Context, m *meter) []timing.Version {
	list := []timing.Version{{Program: "sockql"}, {Program: "ss"}, {Program: "netstat"}, {Program: "lsof"}, {Program: "osqueryi"}, {Program: "gopsutil"}}
	for i, command := range [][]string{
		{p.sockql, "--version"}, {"ss", "-V"}, {"netstat", "--version"}, {"lsof", "-v"}, {p.osqueryi, "--version"}, {p.gopsockets, "-version"},
	} {
		cmd := exec.CommandContext(ctx, command[0], command[1:]...)
		cmd.Env = append(cmd.Environ(), "HOME="+m.home)
		// netstat ends with a status other than 0 after telling it.
		out, _ := cmd.CombinedOutput()
		list[i].Text = version(string(out))
	}
	return list
}

// version picks the word with the version out of what a program says.
func version(text string) string {
	for word := range strings.FieldsSeq(text) {
		word = strings.Trim(strings.TrimPrefix(word, "iproute2-"), "v,")
		if word != "" && word[0] >= '0' && word[0] <= '9' {
			return word
		}
	}
	return strings.TrimSpace(text)
}
