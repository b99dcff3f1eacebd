// Gopsockets lists the sockets of this network namespace, or of one process,
// with gopsutil, as one object of JSON a line. It stands for a program that
// uses that library.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"

	"github.com/shirou/gopsutil/v4/net"
)

func main() {
	version := flag.Bool("version", false, "print the library's version")
	flag.Parse()
	if *version {
		fmt.Println(libraryVersion())
		return
	}
	if err := list(flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "gopsockets:", err)
		os.Exit(1)
	}
}

func list(pid string) error {
	connections := func() ([]net.ConnectionStat, error) { return net.Connections("all") }
	if pid != "" {
		n, err := strconv.ParseInt(pid, 10, 32)
		if err != nil {
			return fmt.Errorf("not a process: %q", pid)
		}
		connections = func() ([]net.ConnectionStat, error) { return net.ConnectionsPid("all", int32(n)) }
	}
	sockets, err := connections()
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	enc := json.NewEncoder(out)
	for _, s := range sockets {
		err = errors.Join(err, enc.Encode(s))
	}
	return errors.Join(err, out.Flush())
}

func libraryVersion() string {
	info, _ := debug.ReadBuildInfo()
	for _, m := range info.Deps {
		if m.Path == "github.com/shirou/gopsutil/v4" {
			return m.Version
		}
	}
	return ""
}
