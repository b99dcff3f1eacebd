package daemon

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A notifier tells a service manager how the daemon is (sd_notify(3)). Without
// a manager it does nothing.
type notifier struct {
	conn     *net.UnixConn
	watchdog time.Duration // how often the manager wants to hear, or 0
	last     time.Time
}

// newNotifier connects to NOTIFY_SOCKET, if the environment names one.
func newNotifier(getenv func(string) string) (*notifier, error) {
	path := getenv("NOTIFY_SOCKET")
	if path == "" {
		return &notifier{}, nil
	}
	// Go writes an abstract address with the @ that the variable has.
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return &notifier{}, fmt.Errorf("daemon: notify: %w", err)
	}
	n := &notifier{conn: conn}
	if usec, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64); err == nil && usec > 0 {
		n.watchdog = time.Duration(usec) * time.Microsecond
	}
	return n, nil
}

func (n *notifier) send(state string) {
	if n.conn != nil {
		// A manager that does not listen has its own ways to find out.
		_, _ = n.conn.Write([]byte(state))
	}
}

// reloading says that the configuration is being read; ready ends that.
func (n *notifier) reloading() {
	var ts unix.Timespec
	if n.conn != nil && unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) == nil {
		n.send(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", ts.Nano()/1000))
	}
}

func (n *notifier) ready(status string) { n.send("READY=1\nSTATUS=" + status) }

func (n *notifier) stopping() { n.send("STOPPING=1") }

// alive says that the schedule goes on, twice as often as asked.
func (n *notifier) alive() {
	if n.watchdog > 0 && time.Since(n.last) >= n.watchdog/2 {
		n.last = time.Now()
		n.send("WATCHDOG=1")
	}
}

func (n *notifier) Close() error {
	if n.conn == nil {
		return nil
	}
	if err := n.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
