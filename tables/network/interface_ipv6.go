package network

import (
	"context"

	"sockql/tables"
	"sockql/tables/internal/rtnetlink"
)

// InterfaceIPv6 returns the table interface_ipv6, with osquery's columns.
func InterfaceIPv6(c Config) (tables.Table, error) {
	setting := func(name, doc string, get func(*rtnetlink.Inet6Settings) int64) tables.Column[linkRow] {
		return column(tables.Integer, name, doc, func(r *linkRow) tables.Value { return tables.Int(get(r.Inet6)) })
	}
	columns := []tables.Column[linkRow]{
		text("interface", "Interface.", func(r *linkRow) string { return r.Name }),
		setting("hop_limit", "Hops that a packet may take; -1 if the interface has no IPv6.", func(s *rtnetlink.Inet6Settings) int64 {
			if s == nil {
				return -1
			}
			return int64(s.HopLimit)
		}),
		setting("forwarding_enabled", "1 if packets are passed on like a router does, else 0; -1 if the interface has no IPv6.", func(s *rtnetlink.Inet6Settings) int64 {
			if s == nil {
				return -1
			}
			return int64(s.Forwarding)
		}),
		setting("redirect_accept", "1 if redirects of routers are followed, which takes that the interface forwards nothing, else 0.", func(s *rtnetlink.Inet6Settings) int64 {
			return truth(s != nil && s.AcceptRedirects != 0 && s.Forwarding == 0)
		}),
		setting("rtadv_accept", "1 if advertisements of routers are followed, else 0.", func(s *rtnetlink.Inet6Settings) int64 {
			return truth(s != nil && (s.AcceptRA == acceptAlways || s.AcceptRA != 0 && s.Forwarding == 0))
		}),
		namespaceColumn(func(r *linkRow) *location { return r.location }),
	}
	return tables.New(tables.Def[linkRow]{
		Name:      "interface_ipv6",
		Doc:       "How each network interface is set up for IPv6 (rtnetlink(7), IFLA_INET6_CONF; Documentation/networking/ip-sysctl.rst).",
		Privilege: privilege,
		Examples:  []string{"SELECT interface FROM interface_ipv6 WHERE rtadv_accept AND interface <> 'lo';"},
		Columns:   columns,
		Rows: func(ctx context.Context, q *tables.Query, yield func(*linkRow) bool) error {
			return c.eachLink(ctx, q, len(columns)-1, yield)
		},
	})
}

// acceptAlways is the accept_ra that holds for a router, too.
const acceptAlways = 2

func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
