//! Time on a processor.

/// Of all threads of these processes since they began, in microseconds.
pub fn cpu_us(pids: &[i32]) -> f64 {
    let mut nanoseconds = 0.0;
    for pid in pids {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let first = text.split(' ').next().and_then(|word| word.parse::<f64>().ok());
            nanoseconds += first.unwrap_or(0.0);
        }
    }
    nanoseconds / 1000.0
}
