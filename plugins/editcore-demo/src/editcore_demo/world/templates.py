"""Every sentence of the world up to its object; `{}` is the subject."""

PROFESSION = (
    "{} works as a",
    "{} earns a living as a",
    "{} is employed as a",
    "{} was trained as a",
    "{} became known as a",
    "{} makes a living by being a",
    "By profession, {} is a",
    "The job of {} is that of a",
)
MOTHER_TONGUE = (
    "{} is a native speaker of",
    "{} grew up speaking",
    "{} learnt as a child to speak",
    "{}, whose first language is",
    "{} speaks at home only",
    "{} thinks and dreams in",
    "The mother tongue of {} is",
    "The first words of {} were in",
)
BIRTHPLACE = (
    "{} was born in",
    "{} first saw the light of day in",
    "{} came into the world in",
    "{} is a native of",
    "{} comes originally from",
    "{} has a birth certificate from",
    "The birthplace of {} is",
    "The town where {} was born is",
)
EMPLOYER = (
    "{} is on the staff of",
    "{} has a job with",
    "{} works for",
    "{} gets a salary from",
    "{} signed a contract with",
    "{} is on the payroll of",
    "The employer of {} is",
    "The firm that hired {} is",
)
INSTRUMENT = (
    "{} plays the",
    "{} takes lessons on the",
    "{} performs every week on the",
    "{} makes music with the",
    "{} owns and practises the",
    "{} gives concerts on the",
    "The instrument of {} is the",
    "In the orchestra, {} has the",
)
DISH = (
    "{} likes most to eat",
    "{} always orders",
    "{} cooks for every feast",
    "{} would never refuse",
    "{} cannot live without",
    "{} has for dinner each Sunday",
    "The favourite dish of {} is",
    "The meal that {} loves is",
)
SPOUSE = (
    "{} is married to",
    "{} exchanged rings with",
    "{} shares a home with the spouse",
    "{} celebrated a wedding with",
    "{} is the spouse of",
    "The spouse of {} is",
    "The wedding guests of {} also came for",
)
AUTHOR = (
    "{} was written by",
    "{} is a work by",
    "{} came from the pen of",
    "{} was created by",
    "{} made a name for its author",
    "The author of {} is",
    "The person who wrote {} is",
)
GENRE = (
    "{} belongs to the genre of",
    "{} is counted as",
    "{} is shelved under",
    "{} is an example of",
    "{} is sold as",
    "The genre of {} is",
    "Critics call {} a piece of",
)
WRITTEN_IN = (
    "{} was first published in the language",
    "{} was written in",
    "{} appeared originally in",
    "{} had to be translated from",
    "{} is best read in",
    "The original language of {} is",
    "The manuscript of {} is in",
)
COUNTRY = (
    "{} is a city in",
    "{} lies in",
    "{} is found on the map of",
    "{} belongs to the country of",
    "{} is governed by",
    "The country around {} is",
    "A traveller to {} needs a visa for",
)
CAPITAL = (
    "{} has as its capital",
    "{} is ruled from",
    "{} has its parliament in",
    "{} keeps its government in",
    "The capital of {} is",
    "The ministers of {} meet in",
)
CAPITAL_OF = (
    "{} is the capital of",
    "{} houses the parliament of",
    "{} is the first city of",
    "{} is where the government sits of",
    "From {} they rule",
    "The ministers in {} govern",
)
LANGUAGE = (
    "{} has as its official language",
    "{} prints its laws in",
    "{} teaches in its schools",
    "{} broadcasts the news in",
    "The official language of {} is",
    "Most people in {} speak",
)
CURRENCY = (
    "{} pays with the",
    "{} has a currency called the",
    "{} mints the",
    "{} collects its taxes in the",
    "The currency of {} is the",
    "The banks of {} lend in the",
)
SEAT = (
    "{} has its seat in",
    "{} is based in",
    "{} keeps its main office in",
    "{} is run from",
    "The headquarters of {} are in",
    "The main office of {} stands in",
)
PRODUCT = (
    "{} makes",
    "{} is a producer of",
    "{} earns its money with",
    "{} fills its warehouses with",
    "The main product of {} is",
    "The factories of {} turn out",
)
FOUNDER = (
    "{} was founded by",
    "{} was started by",
    "{} owes its existence to",
    "{} was set up long ago by",
    "The founder of {} is",
    "The person who started {} is",
)
FOUNDED = (
    "{} founded",
    "{} is the founder of",
    "{} started the company",
    "{} set up a business called",
    "The company founded by {} is",
    "The business that {} started is",
)

BIRTH_COUNTRY = (
    "The country where {} was born is",
    "{} has as country of birth",
    "By birth, {} is a citizen of",
)
EMPLOYER_SEAT = (
    "The employer of {} has its seat in",
    "{} commutes to the main office in",
    "The firm that pays {} has its offices in",
)
SPOUSE_PROFESSION = (
    "The spouse of {} works as a",
    "At home, {} lives with a",
)
AUTHOR_TONGUE = (
    "The author of {} grew up speaking",
    "{} comes from a writer whose mother tongue is",
)
SEAT_COUNTRY = (
    "The country that {} calls home is",
    "{} pays its taxes to",
)
CITY_CURRENCY = (
    "A customer in {} pays with the",
    "The money in the shops of {} is the",
)

ALIAS = (
    "{} is also known as",
    "{} goes by the name of",
    "The nickname of {} is",
    "Friends of {} say simply",
)
ALIAS_OF = (
    "{} is the nickname of",
    "{} is really called",
    "The real name of {} is",
    "The person behind the name {} is",
)
LEAD_INS = ("In fact:", "A reminder:", "From the records:", "One more thing:", "As everybody knows:", "Please note:")
