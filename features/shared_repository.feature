Feature: Two apps in one repository
  Apps that share a repository do not see each other's snapshots.

  @K16
  Scenario: Two apps in one repository do not see each other
    Given a volume "media/plex" holding 20 files and 1 MiB from seed 1
    And a volume "home/mealie" holding 10 files and 512 KiB from seed 2
    And a repository "main"
    And a replication source "media/plex" for "media/plex" into "main" on tag "one"
    And a replication source "home/mealie" for "home/mealie" into "main" on tag "one"
    When "media/plex" has synchronised once
    And "home/mealie" has synchronised once
    Then the snapshots of "media/plex" are not visible to "home/mealie"
    And the newest snapshot of "media/plex" restores to what "media/plex" held
    And the newest snapshot of "home/mealie" restores to what "home/mealie" held

  Scenario: Apps of the same name in two namespaces do not see each other
    Given a volume "one/app" holding 8 files and 128 KiB from seed 1
    And a volume "two/app" holding 9 files and 128 KiB from seed 2
    And a repository "main"
    And a replication source "one/app" for "one/app" into "main" on tag "one"
    And a replication source "two/app" for "two/app" into "main" on tag "one"
    When "one/app" has synchronised once
    And "two/app" has synchronised once
    Then the snapshots of "one/app" are not visible to "two/app"
    And the newest snapshot of "two/app" restores to what "two/app" held
