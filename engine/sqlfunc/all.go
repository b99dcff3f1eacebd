package sqlfunc

import (
	"context"
	"net"
	"os"
	"time"
)

// Config is what the functions need from outside. The zero Config works: it
// reads the host's own list of services and never asks the network.
type Config struct {
	// Services is the file from which service_name takes its names, in the
	// format of services(5). Empty stands for [DefaultServices]. Where it
	// cannot be read, a short built-in list serves.
	Services string
	// AllowResolve lets resolve ask the name server. Without it the function
	// returns NULL and a warning.
	AllowResolve bool
	// ResolveTimeout limits each look-up of resolve; 0 stands for one second.
	ResolveTimeout time.Duration
	// Resolver answers the look-ups of resolve; nil stands for
	// [net.DefaultResolver].
	Resolver Resolver
}

// DefaultServices is where distributions keep services(5).
const DefaultServices = "/etc/services"

const defaultResolveTimeout = time.Second

// A Resolver finds the names of an address. [net.Resolver] is one.
type Resolver interface {
	LookupAddr(ctx context.Context, addr string) (names []string, err error)
}

func (c Config) withDefaults() Config {
	if c.Services == "" {
		c.Services = DefaultServices
	}
	if c.ResolveTimeout <= 0 {
		c.ResolveTimeout = defaultResolveTimeout
	}
	if c.Resolver == nil {
		c.Resolver = net.DefaultResolver
	}
	return c
}

// All returns every function, each name once.
func All(cfg Config) []Function {
	cfg = cfg.withDefaults()
	var all []Function
	for _, group := range [][]Function{
		stringFunctions(),
		regexFunctions(),
		hashFunctions(),
		communityFunctions(),
		base64Functions(),
		cidrFunctions(),
		versionFunctions(),
		pathFunctions(os.Stat),
		mathFunctions(),
		sleepFunctions(),
		nameFunctions(cfg.Services),
		addressFunctions(),
		resolveFunctions(cfg),
	} {
		all = append(all, group...)
	}
	return all
}
