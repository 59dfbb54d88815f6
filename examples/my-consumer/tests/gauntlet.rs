//! The core suite, a test for each scenario.

gauntlet::suite!(my_consumer::my_consumer);
