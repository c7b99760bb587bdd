// Package bench measures a system that is under load: it makes the jobs, keeps
// the books on what became of each, and holds them against what the emulated
// Aliyun accepted. It starts nothing and connects to nothing; internal/lab/benchcmd does.
//
// A run may last for days. Of a job that is done a few bits are kept, and
// latencies go into histograms of a fixed size.
package bench
