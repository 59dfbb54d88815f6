// A Gin service whose RabbitMQ consumer survives: consumer.go has the reconnect loop, this file the service
// around it: the consumer starts before HTTP listens, /health tells the truth, and every reason to end (a signal,
// a consumer that was refused, an HTTP server that cannot listen) comes together in main, which stops everything
// in order and within bounds.
//
// Delivery is at least once: whoever must not do the work twice makes it idempotent where its effect is
// committed, by message id.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"
	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	drainTimeout = 15 * time.Second // for the consumer: cancel, finish, ack, close
	httpTimeout  = 5 * time.Second  // for requests under way
)

// setting is an integer from the environment, at least 1.
func setting(name string, otherwise int) int {
	value, given := os.LookupEnv(name)
	if !given {
		return otherwise
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		log.Fatalf("%s=%q is no positive integer", name, value)
	}
	return n
}

func duration(name string, otherwise time.Duration) time.Duration {
	value, given := os.LookupEnv(name)
	if !given {
		return otherwise
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		log.Fatalf("%s=%q is no duration such as 10s", name, value)
	}
	return d
}

func millis(name string, otherwise int) time.Duration {
	return time.Duration(setting(name, otherwise)) * time.Millisecond
}

// work is the handler: it returns when its effect is committed.
func work(ctx context.Context, d amqp.Delivery) error {
	ms, _ := strconv.Atoi(os.Getenv("GAUNTLET_HANDLER_TIME_MS"))
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
	case <-ctx.Done():
		return ctx.Err()
	}
	fmt.Printf("handled %s\n", d.MessageId)
	return nil
}

func router(consumer *Consumer) *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(gin.Recovery())
	router.GET("/health", func(c *gin.Context) {
		status, word := http.StatusOK, "UP"
		if !consumer.Consuming() {
			status, word = http.StatusServiceUnavailable, "DOWN"
		}
		c.JSON(status, gin.H{"status": word, "components": gin.H{"rabbitmq": gin.H{"status": word}}})
	})
	return router
}

func main() {
	rand.Seed(time.Now().UnixNano()) // before Go 1.20 every process draws the same numbers otherwise
	consumer := &Consumer{
		URL:       os.Getenv("AMQP_URL"),
		Queue:     os.Getenv("GAUNTLET_QUEUE"),
		Prefetch:  setting("GAUNTLET_PREFETCH", 10),
		Workers:   setting("GAUNTLET_WORKERS", 1),
		Heartbeat: duration("GAUNTLET_HEARTBEAT", 10*time.Second),
		Base:      millis("BACKOFF_BASE_MS", 1000),
		Cap:       millis("BACKOFF_CAP_MS", 30000),
		Handle:    work,
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)

	ctx, stop := context.WithCancel(context.Background())
	consumed := make(chan error, 1)
	go func() { consumed <- consumer.Run(ctx) }()

	served := make(chan error, 1)
	server := &http.Server{Addr: os.Getenv("GAUNTLET_HEALTH"), Handler: router(consumer)}
	if server.Addr != "" {
		go func() { served <- server.ListenAndServe() }()
	}

	var failed error
	select {
	case s := <-signals:
		log.Printf("%v: finishing what has begun", s)
	case failed = <-consumed:
		consumed <- failed
	case failed = <-served:
	}

	stop()
	select {
	case err := <-consumed:
		if failed == nil {
			failed = err
		}
	case s := <-signals:
		failed = fmt.Errorf("%v again: ending at once", s)
	case <-time.After(drainTimeout):
		failed = errors.New("work was left unfinished after " + drainTimeout.String())
	}
	ctx, cancel := context.WithTimeout(context.Background(), httpTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); failed == nil {
		failed = err
	}
	if failed != nil {
		log.Fatal(failed)
	}
}
