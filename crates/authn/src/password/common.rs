//! Passwords that guessers try first, and ones made from what everybody knows of the person.

/// Why the text is too easy to guess, for the person who chose it.
pub(crate) fn reason(password: &str, email: Option<&str>, host: &str) -> Option<&'static str> {
    let lower = password.to_lowercase();
    if is_common(&lower) {
        return Some("This is one of the passwords that are guessed first; choose another one");
    }
    if let Some(email) = email.map(str::to_lowercase) {
        let local = email.split('@').next().unwrap_or_default();
        if lower.contains(&email) || (local.len() >= 4 && is_mostly(&lower, local)) {
            return Some("The password holds the email address; choose another one");
        }
    }
    let host = host.to_lowercase();
    let name = host.rsplit('.').nth(1).unwrap_or_default();
    let holds_host = !host.is_empty() && lower.contains(&host);
    if holds_host || [name, "vestibule"].iter().any(|n| n.len() >= 4 && is_mostly(&lower, n)) {
        return Some("The password holds the name of this site; choose another one");
    }
    None
}

/// Whether the text holds the name and not enough besides to be a password of its own.
fn is_mostly(text: &str, name: &str) -> bool {
    text.contains(name) && text.replace(name, "").chars().count() < 8
}

/// The text without digits and symbols at both ends.
fn letters(text: &str) -> &str {
    text.trim_matches(|c: char| !c.is_alphabetic())
}

fn is_common(lower: &str) -> bool {
    if COMMON.split_ascii_whitespace().any(|common| common == lower) {
        return true;
    }
    let plain: String = lower.chars().map(unleet).collect();
    // A common word with digits or symbols around it: `Password123456!`.
    let dressed = [letters(lower), letters(&plain)]
        .iter()
        .any(|word| BASES.split_ascii_whitespace().any(|base| base == *word));
    dressed || is_run(lower)
}

fn unleet(c: char) -> char {
    match c {
        '0' => 'o',
        '1' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    }
}

/// One character or short piece over and over, or a straight run such as `abcdefgh`.
fn is_run(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    let steps: Vec<i64> = chars
        .windows(2)
        .filter_map(|pair| {
            Some(i64::from(u32::from(*pair.get(1)?)) - i64::from(u32::from(*pair.first()?)))
        })
        .collect();
    let straight = steps.iter().all(|s| *s == 1) || steps.iter().all(|s| *s == -1);
    let repeats = (1..=4).any(|piece| {
        chars.iter().zip(chars.iter().skip(piece)).all(|(a, b)| a == b) && chars.len() >= 2 * piece
    });
    straight || repeats
}

/// Words that stay easy with anything but letters around them.
const BASES: &str = "
password passwort passwd passw motdepasse contrasena senha parola haslo wachtwoord
qwerty qwertz azerty qwertyuiop asdfghjkl zxcvbnm asdf qazwsx qwer
letmein welcome willkommen bienvenue iloveyou changeme changeit default secret
admin administrator root superuser login guest master dragon monkey sunshine princess
football baseball superman batman starwars pokemon michael charlie shadow trustno
";

/// The most used ones of the published lists, in lower case, from eight characters on (shorter
/// ones fall to the length rule).
const COMMON: &str = "
12345678 123456789 1234567890 0123456789 987654321 0987654321 9876543210 87654321 11111111
00000000 88888888 12341234 11223344 123123123 1234554321 123454321 12344321 147258369 147852369
159357456 123654789 789456123 741852963 963852741 1qaz2wsx 1q2w3e4r 1q2w3e4r5t 1q2w3e4r5t6y
q1w2e3r4 q1w2e3r4t5 q1w2e3r4t5y6 zaq12wsx zaq1zaq1 zaq1xsw2 1qazxsw2 1qaz2wsx3edc qazwsxedc
qazwsxedcrfv qwerasdf qwerasdfzxcv asdfasdf asdf1234 1234asdf asdfghjk qwert123 qwerty12 qwerty123
qwerty1234 qwerty12345 qwerty123456 123qweasd 123qwe123 123qweasdzxc qweasdzxc qweasd123 qwe123qwe
1234qwer qwer1234 abcd1234 abcd12345 abc12345 abc123456 a1234567 a12345678 a123456789 aa123456
aa12345678 abcdefgh abcdefghi abcdefg1 abcdef123 abc123abc a1b2c3d4 a1b2c3d4e5 1a2b3c4d 1a2b3c4d5e
aaaaaaaa asdfghjkl1 zxcvbnm1 zxcvbnm123 zxcvbnma password1 password2 password3 password12 password123
password1234 password12345 password123456 password! password1! password@1 passw0rd passw0rd1 p@ssw0rd
p@ssword p@55w0rd p4ssw0rd pa55word pa55w0rd pass1234 pass12345 passpass mypassword mypass123 password01
password10 password11 password21 password22 password69 password99 password2020 password2021 password2022
password2023 password2024 password2025 password2026 thepassword newpassword newpass1 oldpassword nopassword
welcome1 welcome12 welcome123 welcome1! welcome2024 welcome2025 welcome2026 letmein1 letmein12 letmein123
letmein! iloveyou iloveyou1 iloveyou2 iloveyou! iloveyou123 iloveme1 ilovegod iloveu123 loveyou1 lovelove
trustno1 changeme changeme1 changeme123 changeit default1 default123 temp1234 temporary test1234 test12345
test123456 testtest testing1 testing123 tester123 demo1234 guest123 user1234 username username1 admin123
admin1234 admin12345 admin123456 admin@123 admin1234! adminadmin administrator root1234 rootroot toor1234
superuser sysadmin manager1 master12 master123 secret12 secret123 secret1234 topsecret security
security1 computer computer1 internet internet1 facebook linkedin myspace1 whatever whatever1 nothing1
something samsung1 samsung123 google123 apple123 microsoft windows1 windows10 playstation xbox360x nintendo
minecraft minecraft1 pokemon1 pokemon123 starwars starwars1 superman superman1 batman123 spiderman
spiderman1 ironman1 captain1 hello123 hello1234 hello12345 hellohello helloworld goodluck sunshine sunshine1
sunshine123 princess princess1 princess123 princess12 football football1 football12 football123 baseball
baseball1 basketball basketball1 softball1 volleyball hockey12 soccer12 soccer123 liverpool liverpool1
chelsea1 chelsea123 arsenal1 arsenal123 manchester juventus barcelona barcelona1 realmadrid cristiano
ronaldo7 ronaldo1 messi123 yankees1 cowboys1 steelers steelers1 lakers24 jordan23 michael1 michael123
michelle michelle1 jennifer jennifer1 jessica1 jessica123 ashley12 ashley123 amanda12 nicole12 nicole123
danielle danielle1 stephanie elizabeth elizabeth1 victoria victoria1 samantha samantha1 charlotte
alexander alexander1 alexandra alejandro alejandra sebastian valentina fernando fernanda francisco
christian christian1 christine christina christopher jonathan jonathan1 anthony1 anthony123 benjamin
benjamin1 nicholas nicholas1 brandon1 brandon123 jasmine1 jasmine123 isabella isabella1 gabriel1 gabriela
patricia patricia1 veronica katherine catherine margaret beautiful beautiful1 butterfly butterfly1
chocolate chocolate1 strawberry blueberry cupcake1 cookies1 cookie123 brownie1 peanut12 pumpkin1 sweetheart
sweetpea sweety12 cutie123 babygirl babygirl1 babygirl12 babygirl123 babyboy1 babyblue buttercup blessed1
blessing jesus123 jesuschrist jesus777 heavenly godisgood godbless faithful grateful forever1 forever21
friends1 friendship bestfriend familia1 family123 mother12 mother123 father12 daddy123 mommy123 mynameis
monkey12 monkey123 monkey1234 dragon12 dragon123 dragonball tigger12 tigger123 tiger123 lion1234 eagles12
phoenix1 panther1 panthers mustang1 mustang123 corvette ferrari1 porsche1 mercedes bmw12345 yamaha12
kawasaki harley12 harleydavidson chevrolet chevy123 toyota12 freedom1 freedom123 liberty1 america1 america123
american patriot1 military marines1 airforce soldier1 warrior1 warriors thunder1 thunder123 lightning
midnight midnight1 darkness darkside shadow12 shadow123 vampire1 werewolf skeleton zombie12 monster1
monster123 killer12 killer123 hunter12 hunter123 fishing1 fishing123 hunting1 gangster gangsta1 thuglife
marijuana cannabis smoke420 blazeit420 fuckyou1 fuckyou123 fuckyou2 fuckoff1 fuckthis asshole1 bullshit
bitch123 sexysexy sexygirl sexy1234 hottie12 hottie123 playboy1 pornstar metallica metallica1 slipknot
slipknot1 nirvana1 ironmaiden greenday greenday1 blink182 linkinpark rockstar rockstar1 rocknroll guitar12
guitar123 drummer1 musiclover music123 dancer12 dancer123 purple12 purple123 yellow12 orange12 orange123
silver12 golden12 diamond1 diamond123 crystal1 crystal123 rainbow1 rainbow123 snowball snowflake snowman1
winter12 winter123 winter2024 winter2025 winter2026 summer12 summer123 summer2023 summer2024 summer2025
summer2026 spring12 spring123 spring2024 spring2025 spring2026 autumn12 autumn2024 autumn2025 january1
february december december1 november november1 october1 september september1 monday12 friday13 birthday
birthday1 christmas christmas1 halloween valentine newyork1 newyork123 california california1 florida1
texas123 chicago1 london12 london123 paris123 madrid123 berlin123 germany1 england1 scotland ireland1
canada12 canada123 australia mexico12 mexico123 brasil123 argentina colombia portugal portugal1 russia123
pakistan pakistan1 india123 indonesia malaysia singapore philippines hongkong qwertyui qwertyuiop
qwertyuiop1 qwertzui qwertzuiop azertyui azertyuiop azerty123 asdfghjkl zxcvbnmm poiuytrewq lkjhgfdsa
mnbvcxz1 098765432 0192837465 1029384756 1357924680 2468013579 13579246 24681012 31415926 314159265
3141592654 27182818 10101010 20202020 12121212 13131313 21212121 22222222 33333333 44444444 55555555
66666666 77777777 99999999 111111111 1111111111 222222222 12345679 123456781 1234567891 12345678910
123456789a 123456789q 12345678a 12345678q 1234567a 1234567q 123456aa 123456abc 123456qwe 123456qwerty
123abc123 123456ab 12345abc 12345qwert 1234abcd 123asd123 zxc12345 zxcv1234 qwerty!@ !qaz2wsx !qaz@wsx
1qaz!qaz 1qaz@wsx qwe!@#123 !@#$%^&* !@#$%^&*( !@#123qwe abc@1234 abc@12345 abcd@123 abcd@1234 india@123
pass@123 pass@1234 passw0rd! p@ssw0rd1 p@ssw0rd! p@ssw0rd123 test@123 test@1234 user@123 welcome@1
welcome@123 qwerty@123 letmein@123 changeme! root@123 admin@1234 master@123 access14 access123 batman12
maverick maverick1 marlboro scooter1 scorpion scorpio1 sagitario capricorn mercury1 jupiter1 galaxy12
universe starlight startrek startrek1 voyager1 enterprise enterprise1 discovery explorer pathfinder
matrix12 gandalf1 gandalf123 frodo123 legolas1 harrypotter hogwarts dumbledore voldemort twilight1 hungergames
naruto12 naruto123 sasuke12 onepiece goku1234 sailormoon hellokitty mickey12 mickeymouse minnie12 disney12
disneyland donald12 snoopy12 garfield garfield1 scooby12 scoobydoo simpsons southpark familyguy spongebob
spongebob1 barney12 winniethepooh tinkerbell cinderella fluffy12 cuddles1 snuggles smokey12 buster12 buster123
maggie12 bailey12 bailey123 charlie1 charlie12 charlie123 jackson1 jackson5 jordan12 jordan123 taylor12
taylor13 hannah12 hannah123 austin12 austin123 dallas12 dakota12 madison1 madison123 savannah cheyenne
montana1 arizona1 colorado michigan wisconsin minnesota tennessee louisiana carolina virginia georgia1
oklahoma washington washington1 alabama1 mississippi pittsburgh philadelphia cleveland baltimore
redskins broncos1 packers1 patriots raiders1 seahawks dolphins1 vikings1 falcons1 cardinals rangers1 penguins
redwings blackhawks maplesyrup bluesky1 redwine1 whiteboy blackcat blackberry raspberry sausages cheese12
cheese123 chicken1 chicken123 hotdog12 pizza123 burger12 nachos12 tequila1 whiskey1 vodka123 corona12
budweiser heineken guinness jackdaniels cocacola cocacola1 pepsi123 redbull1 starbucks monalisa leonardo
leonardo1 michelangelo picasso1 einstein einstein1 newton12 darwin12 galileo1 napoleon lincoln1 kennedy1
clinton1 obama2008 trump2016 trump2020 biden2020 covid2020 covid19! vaccine1 quarantine lockdown1 corona2020
openssl1 letmeinnow opensesame accessgranted supersecret secretpassword mysecret mysecret1 donotenter
keepout1 privateonly logmein1 signmein passphrase passcode passcode1 correcthorse correcthorsebatterystaple
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_001_11_common_passwords_and_their_dressed_up_forms_are_refused() {
        for common in [
            "password",
            "Password123456!",
            "12345678",
            "QWERTYUIOP",
            "P@ssw0rd!",
            "Admin1234!",
            "abcdefgh",
            "zzzzzzzzzz",
            "abababab",
            "letmein2026",
            "iloveyou1",
        ] {
            assert!(reason(common, None, "auth.example.com").is_some(), "{common}");
        }
        for fine in
            ["wet sky kettle", "8d!kPq2z", "correct horse battery staple", "Übergrößenträger"]
        {
            assert_eq!(reason(fine, Some("ann@example.com"), "auth.example.com"), None, "{fine}");
        }
    }

    #[test]
    fn ones_that_hold_the_email_or_the_host_are_refused() {
        let why = |password| reason(password, Some("Karlotta@Example.org"), "auth.garden.example");
        assert!(why("xkarlottax9!").is_some());
        assert!(why("my auth.garden.example").is_some());
        assert!(why("Garden2024!").is_some());
        assert!(why("vestibule99").is_some());
        assert!(why("gardening 12").is_some(), "too little besides the name");
        assert!(why("gardening tips for may").is_none());
        assert!(why("karlotta likes wet kettles").is_none());
    }

    #[test]
    fn the_list_is_lower_case_and_without_what_the_length_rule_catches() {
        for common in COMMON.split_ascii_whitespace() {
            assert_eq!(common, common.to_lowercase());
            assert!(common.chars().count() >= 8, "{common}");
        }
        assert!(COMMON.split_ascii_whitespace().count() > 600);
    }
}
