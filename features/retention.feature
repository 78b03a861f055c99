Feature: Retention
  What the policy keeps stays; what it does not keep goes; the newest is never lost.

  @K12 @virtual-time
  Scenario: Only as many daily snapshots remain as the policy keeps
    Given a volume "app-data" holding 5 files and 64 KiB from seed 7
    And a repository "main"
    And a replication source "nightly" for "app-data" into "main" at "0 3 * * *"
      | retain.daily   | 7 |
      | retain.latest  | 1 |
      | retain.hourly  | 0 |
      | retain.weekly  | 0 |
      | retain.monthly | 0 |
      | retain.yearly  | 0 |
    When 20 days pass
    Then the repository holds at most 8 snapshots of "nightly"
    And the repository holds at least 7 snapshots of "nightly"
    And the newest snapshot of "nightly" restores to what "app-data" held

  @quiet @long @K28 @virtual-time
  Scenario: After a year of nights with maintenance the newest snapshot restores
    Given a volume "app-data" holding 5 files and 64 KiB from seed 7
    And a repository "main"
    And a maintenance "daily" of "main" at "30 4 * * *"
    And a replication source "nightly" for "app-data" into "main" at "0 3 * * *"
      | retain.daily   | 7  |
      | retain.weekly  | 4  |
      | retain.monthly | 12 |
    When 365 days pass
    Then "nightly" has synchronised 366 times
    And the repository holds at most 26 snapshots of "nightly"
    And the newest snapshot of "nightly" restores to what "app-data" held
    And the repository "main" verifies
