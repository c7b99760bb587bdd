// Command fuzz runs the module's fuzz targets, each for a given time:
//
//	go run ./test/fuzz -time 10m -jobs 2 -match 'Decode|Parse' ./...
//
// It stops at the first input that fails and says where go test kept it. Settings
// of the go command itself are taken from the environment, as in GOFLAGS=-race.
//
// Exit status: 0 nothing failed; 1 a target failed, or was interrupted; 2 it could
// not begin.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("fuzz", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var (
		plan  = plan{dir: "."}
		match = flags.String("match", ".", "run the targets whose package.Name this `regexp` finds")
		list  = flags.Bool("list", false, "list the targets and run none")
	)
	flags.DurationVar(&plan.time, "time", time.Minute, "how long each target is fuzzed")
	flags.IntVar(&plan.jobs, "jobs", 1, "how many targets are fuzzed at once")
	flags.BoolVar(&plan.keepGoing, "keep-going", false, "fuzz the other targets although one failed")
	flags.IntVar(&plan.parallel, "parallel", 1, "how many processes fuzz one target")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	wanted, err := regexp.Compile(*match)
	if err != nil {
		fmt.Fprintln(stderr, "fuzz: -match:", err)
		return 2
	}
	if plan.time < time.Second || plan.jobs < 1 || plan.parallel < 1 {
		fmt.Fprintln(stderr, "fuzz: -time must be at least 1s, -jobs and -parallel at least 1")
		return 2
	}
	targets, err := find(ctx, plan.dir, flags.Args(), wanted)
	if err != nil {
		fmt.Fprintln(stderr, "fuzz:", err)
		return 2
	}
	if *list {
		for _, target := range targets {
			fmt.Fprintln(stdout, target)
		}
		return 0
	}

	reports := plan.run(ctx, targets, stdout)
	table(stdout, reports)
	for _, report := range reports {
		if report.result != passed {
			return 1
		}
	}
	return 0
}
